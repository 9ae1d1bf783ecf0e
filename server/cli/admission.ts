import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { ApiClient } from '../../clients/api.ts'
import { type AskOptions as Options, tell } from './api-command.ts'
import { CliError } from './cli-error.ts'
import { tellOrHeld } from './hold.ts'
import { timeOf } from './time-option.ts'
import { assertReach, withClient } from './with-client.ts'

/** What is filed, as the command line has it: each part may be left out where it does not change. */
export interface FilingOptions extends Options {
  readonly caller: string
  readonly organisation?: string
  readonly licenceNumber?: string
  /** Of the file, which is hashed here and goes nowhere. */
  readonly licence?: string
  readonly userName?: string
  readonly userPhone?: string
  readonly userMail?: string
  readonly responsibleName?: string
  readonly responsiblePhone?: string
  readonly responsibleMail?: string
  readonly assessment?: string
  readonly report?: string
  readonly expires?: string
}

interface Contact {
  readonly name: string
  readonly phone: string
  readonly mail: string
}
interface Admission {
  readonly callerId: string
  readonly subject: string
  readonly state: string
  readonly organisation: { readonly name: string; readonly licenceNumber: string; readonly licenceSha256: string }
  readonly assessment: { readonly reference: string; readonly reportSha256: string; readonly expiresAt: string }
  readonly user?: Contact
  readonly responsible?: Contact
  readonly version: number
  readonly change: string
  readonly reason?: string
  readonly changedBy: string
  readonly changedAt: string
}
interface Caller {
  readonly callerId: string
  readonly kind: string
  readonly name: string
}

const PAGE = 1000

export const fileAdmissionCommand = (options: FilingOptions): Promise<void> =>
  asking(options, async (client) => {
    const { organisation, user, responsible, assessment } = filingOf(options)
    if (organisation === undefined || user === undefined || responsible === undefined || assessment === undefined)
      throw new CliError('A filing has all its parts: organisation and licence, user, responsible person, assessment. See: gridseal admission file --help')
    return tellOrHeld(options, () => post(client, options, '', { organisation, user, responsible, assessment }), describe)
  })

export const changeAdmissionCommand = (options: FilingOptions): Promise<void> =>
  asking(options, (client) => tellOrHeld(options, () => post(client, options, '/change', filingOf(options)), describe))

export const suspendAdmissionCommand = ({ reason, ...options }: Options & { readonly caller: string; readonly reason: string }): Promise<void> =>
  asking(options, async (client) => tell(options, await post(client, options, '/suspend', { reason }), describe))

export const resumeAdmissionCommand = ({ reason, ...options }: Options & { readonly caller: string; readonly reason: string }): Promise<void> =>
  asking(options, (client) => tellOrHeld(options, () => post(client, options, '/resume', { reason }), describe))

/** As it is now, or all that it was, the newest first. */
export const showAdmissionCommand = ({ history, ...options }: Options & { readonly caller: string; readonly history?: boolean }): Promise<void> =>
  asking(options, async (client) => {
    const address = await addressOf(client, options.caller)
    if (history !== true) return tell(options, await client.get<Admission>(address), describe)
    const versions: Admission[] = []
    for (let before = ''; ; ) {
      const page = (await client.get<{ versions: Admission[] }>(`${address}/history?limit=100${before}`)).versions
      versions.push(...page)
      if (page.length < 100) break
      before = `&before=${String(page.at(-1)?.version)}`
    }
    return tell(options, { versions }, () => versions.flatMap(describe))
  })

export const listAdmissionsCommand = ({ expiresBefore, ...options }: Options & { readonly expiresBefore?: string }): Promise<void> =>
  asking(options, async (client) => {
    const admissions: Admission[] = []
    const wanted = expiresBefore === undefined ? '' : `&expiresBefore=${encodeURIComponent(timeOf(expiresBefore, '--expires-before'))}`
    for (let after = ''; ; ) {
      const page = (await client.get<{ admissions: Admission[] }>(`/v1/policies/admissions?limit=${String(PAGE)}${wanted}${after}`)).admissions
      admissions.push(...page)
      if (page.length < PAGE) break
      after = `&after=${page.at(-1)?.callerId ?? ''}`
    }
    return tell(options, { admissions }, () => (admissions.length === 0 ? ['None.'] : admissions.map(line)))
  })

async function asking(options: Options, work: (client: ApiClient) => Promise<void>): Promise<void> {
  assertReach(options)
  await withClient(options, work)
}

const post = async (client: ApiClient, { caller }: { readonly caller: string }, step: string, body: object): Promise<Admission> =>
  client.post<Admission>(`${await addressOf(client, caller)}${step}`, body)

/** The address of the admission of `vendor:acme-cards`. */
async function addressOf(client: ApiClient, caller: string): Promise<string> {
  if (!/^(vendor|module):[a-z0-9][a-z0-9._-]{0,55}$/.test(caller)) throw new CliError(`--caller: found ${caller}, expected vendor:NAME or module:NAME.`)
  for (let after = ''; ; ) {
    const { callers } = await client.get<{ callers: Caller[] }>(`/v1/policies/callers?limit=${String(PAGE)}${after}`)
    const found = callers.find(({ kind, name }) => `${kind}:${name}` === caller)
    if (found !== undefined) return `/v1/policies/callers/${found.callerId}/admission`
    if (callers.length < PAGE) throw new CliError(`No ${caller} is registered.`)
    after = `&after=${callers.at(-1)?.callerId ?? ''}`
  }
}

function filingOf(options: FilingOptions) {
  const { organisation: name, licenceNumber, licence, assessment: reference, report, expires } = options
  const organisation = whole({ name, licenceNumber, licence }, '--organisation, --licence-number, --licence')
  const user = whole({ name: options.userName, phone: options.userPhone, mail: options.userMail }, '--user-name, --user-phone, --user-mail')
  const responsible = whole(
    { name: options.responsibleName, phone: options.responsiblePhone, mail: options.responsibleMail },
    '--responsible-name, --responsible-phone, --responsible-mail',
  )
  const assessment = whole({ reference, report, expires }, '--assessment, --report, --expires')
  return {
    ...(organisation === undefined
      ? {}
      : { organisation: { name: organisation.name, licenceNumber: organisation.licenceNumber, licenceSha256: digestOf(organisation.licence) } }),
    ...(user === undefined ? {} : { user }),
    ...(responsible === undefined ? {} : { responsible }),
    ...(assessment === undefined
      ? {}
      : {
          assessment: {
            reference: assessment.reference,
            reportSha256: digestOf(assessment.report),
            expiresAt: timeOf(assessment.expires, '--expires'),
          },
        }),
  }
}

/** All of them or none. */
function whole<Part extends Record<string, string | undefined>>(part: Part, told: string): Record<keyof Part, string> | undefined {
  const given = Object.values(part).filter((value) => value !== undefined).length
  if (given === 0) return undefined
  if (given < Object.keys(part).length) throw new CliError(`These belong together: ${told}.`)
  return part as Record<keyof Part, string>
}

function digestOf(file: string): string {
  try {
    return createHash('sha256').update(readFileSync(file)).digest('hex')
  } catch {
    throw new CliError(`${file} cannot be read.`)
  }
}

const callerOf = (subject: string): string => subject.replace('urn:gridseal:', '')
const line = (a: Admission): string => `${callerOf(a.subject).padEnd(32)}${a.state.padEnd(11)}until ${a.assessment.expiresAt}  ${a.organisation.name}`
const contact = ({ name, phone, mail }: Contact): string => `${name}, ${phone}, ${mail}`

const describe = (a: Admission): string[] => [
  `${callerOf(a.subject)}  version ${String(a.version)}: ${a.state}`,
  `  ${a.change} at ${a.changedAt} by ${a.changedBy}${a.reason === undefined ? '' : `: ${a.reason}`}`,
  `  organisation  ${a.organisation.name}, licence ${a.organisation.licenceNumber}, SHA-256 ${a.organisation.licenceSha256}`,
  ...(a.user === undefined ? [] : [`  user          ${contact(a.user)}`]),
  ...(a.responsible === undefined ? [] : [`  responsible   ${contact(a.responsible)}`]),
  `  assessment    ${a.assessment.reference}, until ${a.assessment.expiresAt}, SHA-256 ${a.assessment.reportSha256}`,
]
