import { z } from 'zod'
import { base64url, sha256, utf8 } from '../../../core/bytes.ts'
import { found } from '../../../core/found.ts'
import { newUuid } from '../../../core/ids.ts'
import { Problem } from '../../../core/problem.ts'
import { digestRow } from '../../../core/row.ts'
import { type Caller, callerUrn } from '../../caller.ts'
import { type Operation, operation } from '../../operation.ts'
import { type Account, loadAccount } from '../account.ts'
import { type OtpRecord, otpRow } from '../credentials.ts'
import type { Deps } from '../deps.ts'
import { assertMayTry, LOGIN_FAILED, prove } from '../login.ts'
import type { Budget } from '../login-budgets.ts'
import type { Attempt } from '../login-throttle.ts'
import { type Session, sessionRow } from '../session.ts'
import { PASSWORD, RECOVERY_CODE, TOTP_CODE } from '../view.ts'

interface Input {
  readonly name: string
  readonly password: string
  readonly code?: string | undefined
  readonly recoveryCode?: string | undefined
  readonly device?: string | undefined
  readonly cookie?: boolean | undefined
}
interface Target {
  readonly input: Input
  readonly caller: Caller
  readonly personId: string | undefined
  readonly account: Account | undefined
  readonly attempt: Attempt
  readonly shared: readonly Budget[]
  readonly at: Date
}
interface Opened {
  readonly session: Session
  readonly otp: OtpRecord
  readonly token: string
  readonly device: string | undefined
}

const OUTPUT = z
  .strictObject({
    token: z.string().optional().meta({ description: 'The session: `Authorization: Bearer`. Absent where it went into a cookie.' }),
    sessionId: z.string().meta({ description: 'What the session is called. It lets nobody in.' }),
    caller: z.string().meta({ description: 'Who one is by it: a URN.', example: 'urn:gridseal:business:chen' }),
    openedAt: z.string(),
    expiresAt: z.string().meta({ description: 'Used or not.' }),
    idleSeconds: z.number().int().meta({ description: 'Without use it ends after so long.' }),
    device: z
      .string()
      .optional()
      .meta({ description: 'For the next logins on this device: failures of others do not make it wait then. Absent where it has one, or a cookie took it.' }),
    recoveryCodesLeft: z.number().int(),
  })
  .meta({ id: 'SessionOpened' })

/**
 * Name, password and code become a session. Right or wrong, of a person or of nobody, each that is tried has one entry, and takes the same time; what has to wait is
 * not tried and has none. Of the person an entry names the id; of a name that is none nothing, since people type passwords there.
 */
export const openSession = (deps: Deps): Operation<Input, Target, Opened, z.infer<typeof OUTPUT>> =>
  operation({
    name: 'policies.session.open',
    summary: 'Logs a business person or auditor in, by name, password and one-time code: a session bound to where they come from.',
    effect: 'durable',
    route: { method: 'POST', path: '/v1/policies/session', status: 201, maxBodyBytes: 4096, access: 'anonymous', session: 'opens' },
    input: z
      .strictObject({
        name: z.string().min(1).max(128).meta({ description: 'The person’s name.' }),
        password: PASSWORD,
        code: TOTP_CODE.optional(),
        recoveryCode: RECOVERY_CODE.optional(),
        device: z.string().min(1).max(128).optional().meta({ description: 'What the last login on this device answered.' }),
        cookie: z.boolean().optional().meta({ description: 'For a browser: the session goes into a cookie that no script can read.' }),
      })
      .refine(({ code, recoveryCode }) => (code === undefined) !== (recoveryCode === undefined), 'either code or recoveryCode is needed'),
    output: OUTPUT,
    locate: async (input, caller) => {
      const { person, account } = await loadAccount(deps, input.name)
      const device = input.device === undefined ? undefined : await deps.check.openDevice(person?.id ?? '', input.device)
      const attempt = { name: input.name, address: caller.address ?? 'unknown', ...(device === undefined ? {} : { device }) }
      const shared = await assertMayTry(deps, attempt)
      return { input, caller, personId: person?.id, account, attempt, shared, at: deps.now() }
    },
    uses: () => [],
    facts: ({ personId, account, input, attempt }) => ({
      public: {
        ...(personId === undefined ? {} : { personId }),
        ...(account === undefined ? {} : { subject: callerUrn(account.registration) }),
        secondFactor: input.recoveryCode === undefined ? 'totp' : 'recovery-code',
        knownDevice: attempt.device !== undefined,
      },
    }),
    execute: async (_permit, { input, caller, account: tried, attempt, shared, at }) => {
      const { account, otp } = await prove(deps, { account: tried, attempt, shared, proof: input, at })
      const token = base64url(deps.random(32))
      const session: Session = {
        ...{ id: newUuid(), digest: sha256(utf8(token)), personId: account.person.id, callerId: account.registration.id },
        ...{ passwordVersion: account.password.version, address: attempt.address },
        ...(caller.certificate === undefined ? {} : { certificate: caller.certificate }),
        ...{ openedAt: at, expiresAt: new Date(at.getTime() + deps.limits.mostMs), version: 1 },
      }
      return { session, otp, token, device: attempt.device === undefined ? await deps.check.makeDevice(account.person.id) : undefined }
    },
    record: async (tx, _target, { session, otp }) => {
      await deps.credentials.putOtp(tx, otp).catch((error: unknown) => {
        // Somebody used this code, or another of this person, at the same moment.
        throw error instanceof Problem && error.code === 'conflict' ? new Problem('login-failed', LOGIN_FAILED, { cause: error }) : error
      })
      await deps.sessions.insert(tx, session)
      return { facts: { public: { sessionId: session.id }, rows: [otpRow(otp), sessionRow(session)].map(digestRow) } }
    },
    respond: ({ account }, { session, otp, token, device }) => ({
      ...{ token, sessionId: session.id, caller: callerUrn(found(account).registration) },
      ...{ openedAt: session.openedAt.toISOString(), expiresAt: session.expiresAt.toISOString(), idleSeconds: Math.round(deps.limits.idleMs / 1000) },
      ...(device === undefined ? {} : { device }),
      recoveryCodesLeft: otp.recovery.length,
    }),
  })
