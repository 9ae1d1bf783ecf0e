import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parse } from 'yaml'
import { z } from 'zod'
import { FAULT_POINTS } from '../core/fault-point.ts'
import { isAddress, isHostName } from '../core/host-name.ts'
import { parsePkcs11Uri, PROBE_NAMES } from '../pkcs11/index.ts'
import { parseReceivers } from '../policies/audit/forwarding/index.ts'
import { parseCrashAt } from './crash-at.ts'

/** Why a text cannot be read. */
function faultOf(read: () => unknown): string | undefined {
  try {
    read()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : 'not valid'
  }
}

/** A whole number, or its digits. What JavaScript makes a number of besides, such as `false` or a list, is none: 0 turns some things off. */
const whole = (least: number, most = Number.MAX_SAFE_INTEGER) =>
  z.preprocess(
    (value) => (typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value),
    z.number('not a whole number').int('not a whole number').min(least).max(most),
  )

/** A setting: its name in gridseal.yaml, its environment variable, and what it means. One table for reading, checking and `gridseal settings`. */
const SETTINGS = {
  data: {
    env: 'GRIDSEAL_DATA',
    schema: z.string().min(1).default('./data'),
    about: 'The data folder: token, database, PIN files. A copy of it is everything.',
  },
  host: { env: 'GRIDSEAL_HOST', schema: z.string().min(1).default('127.0.0.1'), about: 'The address both listeners bind to.' },
  tlsPort: { env: 'GRIDSEAL_TLS_PORT', schema: whole(0, 65_535).default(8443), about: 'TLS listener: the API. 0 takes a free port.' },
  plainPort: {
    env: 'GRIDSEAL_PLAIN_PORT',
    schema: whole(0, 65_535).default(8080),
    about: 'Plain listener: CA certificates, CRLs, health, metrics. 0 takes a free port.',
  },
  names: {
    env: 'GRIDSEAL_NAMES',
    schema: z
      .union([z.string().transform((text) => text.split(',')), z.array(z.string())])
      .transform((names) => names.map((name) => name.trim().toLowerCase()))
      .refine((names) => names.length > 0 && names.every((name) => isHostName(name) || isAddress(name)), 'not host names and IP addresses, comma-separated')
      .default(['localhost', '127.0.0.1', '::1']),
    about: 'DNS names and addresses in the TLS certificate, comma-separated.',
  },
  lanes: {
    env: 'GRIDSEAL_LANES',
    schema: whole(1, 64).default(1),
    about: 'Lanes: processes that hold the token. One for each core that may be given to the HSM.',
  },
  writers: {
    env: 'GRIDSEAL_WRITERS',
    schema: whole(2, 64).default(6),
    about: 'Writer slots of the audit log: database connections that commit at the same time.',
  },
  token: {
    env: 'GRIDSEAL_TOKEN',
    schema: z
      .string()
      .superRefine((uri, context) => {
        const fault = faultOf(() => parsePkcs11Uri(uri))
        if (fault !== undefined) context.addIssue({ code: 'custom', message: fault })
      })
      .optional(),
    about: 'PKCS#11 URI (RFC 7512) of the token, with pin-source=file:/path or pin-source=env:NAME. Absent: SoftHSM2 in the data folder.',
  },
  tokenLibraryParameters: {
    env: 'GRIDSEAL_TOKEN_LIBRARY_PARAMETERS',
    schema: z.string().min(1).optional(),
    about: 'For a token chosen by GRIDSEAL_TOKEN: what C_Initialize hands to its module. NSS softokn wants its folder so.',
  },
  tokenEnvironment: {
    env: 'GRIDSEAL_TOKEN_ENVIRONMENT',
    schema: z
      .union([z.string().transform((text) => text.split(',')), z.array(z.string())])
      .pipe(z.array(z.string().regex(/^[A-Za-z_]\w*$/, 'not names of variables, comma-separated')))
      .default([]),
    about: 'For a token chosen by GRIDSEAL_TOKEN: names of environment variables that its module needs, comma-separated. It sees no others.',
  },
  policy: {
    env: 'GRIDSEAL_POLICY',
    schema: z.string().min(1).optional(),
    about: 'The policy file. Absent: policy.yaml in the data folder, written at first start.',
  },
  origin: {
    env: 'GRIDSEAL_ORIGIN',
    schema: z
      .string()
      .regex(/^[^\s+]{1,200}$/, 'an origin has no spaces and no plus sign')
      .default('gridseal.example/audit/1'),
    about: 'The name of the audit log (C2SP tlog-checkpoint origin). It never changes; a recovery from the loss of entries adds to it.',
  },
  syslog: {
    env: 'GRIDSEAL_SYSLOG',
    schema: z
      .union([z.string().transform((text) => text.split(',').map((one) => one.trim())), z.array(z.string())])
      .default([])
      .transform((receivers, context) => {
        const fault = faultOf(() => parseReceivers(receivers))
        if (fault === undefined) return parseReceivers(receivers)
        context.addIssue({ code: 'custom', message: fault })
        return z.NEVER
      }),
    about:
      'Where the audit log is forwarded (RFC 5424 over TLS), comma-separated: syslog+tls://HOST:6514?ca=FILE, and name=, server-name=, certificate=FILE&key=FILE.',
  },
  witnessPolicy: {
    env: 'GRIDSEAL_WITNESS_POLICY',
    schema: z.string().min(1).optional(),
    about: 'A file (C2SP tlog-policy) that names the witnesses of the log, with their URLs, and how many of them must cosign. Absent: it has none.',
  },
  witnessesMustAnswer: {
    env: 'GRIDSEAL_WITNESSES_MUST_ANSWER',
    schema: z.union([z.boolean(), z.enum(['true', 'false']).transform((text) => text === 'true')]).default(false),
    about: 'true: no start where a witness cannot be asked what it knows of the log. false: it is asked later, and stops the log when it knows of more.',
  },
  tokenHeadSeconds: {
    env: 'GRIDSEAL_TOKEN_HEAD_SECONDS',
    schema: whole(0, 86_400).default(60),
    about: 'How often, at most, the last signed head of the log is written into the token, in seconds: the flash of an HSM wears. 0: never, nor read there.',
  },
  crlUrl: {
    env: 'GRIDSEAL_CRL_URL',
    schema: z
      .string()
      .regex(/^https?:\/\/[\x21-\x7e]{1,200}(?<!\/)$/, 'not an http or https URL without a slash at its end')
      .optional(),
    about:
      'Where verifiers reach the plain listener, such as http://pki.grid.example: CRL distribution points in certificates begin so. Absent: they have none.',
  },
  databaseUrl: {
    env: 'DATABASE_URL',
    schema: z
      .string()
      .regex(/^postgres(ql)?:/)
      .optional(),
    about: 'PostgreSQL 15 or newer. Absent: an embedded one in the data folder.',
  },
  databaseOwnerUrl: {
    env: 'DATABASE_OWNER_URL',
    schema: z
      .string()
      .regex(/^postgres(ql)?:/)
      .optional(),
    about: 'The login that owns the tables and migrates them. Absent: DATABASE_URL.',
  },
  sessionIdleMinutes: {
    env: 'GRIDSEAL_SESSION_IDLE_MINUTES',
    schema: whole(1, 60).default(15),
    about: 'A session that nobody uses ends after so long.',
  },
  sessionMaxHours: {
    env: 'GRIDSEAL_SESSION_MAX_HOURS',
    schema: whole(1, 24).default(8),
    about: 'A session ends after so long, used or not.',
  },
  grantMaxHours: {
    env: 'GRIDSEAL_GRANT_MAX_HOURS',
    schema: whole(1, 24).default(24),
    about: 'A grant (emergency or temporary access) lasts so long at the most.',
  },
  personalRetentionDays: {
    env: 'GRIDSEAL_PERSONAL_RETENTION_DAYS',
    schema: whole(0, 36_500).default(183),
    about: 'Personal values behind entries of the log are not erased before they are so old. 0: they may be at once.',
  },
  alarmSeconds: {
    env: 'GRIDSEAL_ALARM_SECONDS',
    schema: whole(1, 86_400).default(60),
    about: 'An operation that is open, or a checkpoint that is late, for so long is an alarm; an alarm ends when its cause has been gone for so long.',
  },
  diskFreeMib: {
    env: 'GRIDSEAL_DISK_FREE_MIB',
    schema: whole(0).default(512),
    about: 'Less room than this in the data folder is an alarm (MiB).',
  },
  integrityHours: {
    env: 'GRIDSEAL_INTEGRITY_HOURS',
    schema: whole(0, 8_760).default(24),
    about: 'How often the whole database is compared with the log, in hours; rows of new entries are within minutes. 0: only when somebody asks.',
  },
  logLevel: {
    env: 'GRIDSEAL_LOG_LEVEL',
    schema: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
    about: 'How much the service says on standard output.',
  },
  officerPinFile: {
    env: 'GRIDSEAL_OFFICER_PIN_FILE',
    schema: z.string().min(1).optional(),
    about: 'For a token chosen by GRIDSEAL_TOKEN: the file with the security officer’s PIN, for ceremonies; or prompt: it is typed at the terminal.',
  },
  insecureTokenIgnores: {
    env: 'GRIDSEAL_INSECURE_TOKEN_IGNORES',
    schema: z
      .union([z.string().transform((text) => text.split(',')), z.array(z.string())])
      .pipe(z.array(z.enum(PROBE_NAMES)))
      .default([]),
    about: `Probes that the token may fail: ${PROBE_NAMES.join(', ')}. Never in production.`,
  },
  insecureCrashAt: {
    env: 'GRIDSEAL_INSECURE_CRASH_AT',
    schema: z
      .string()
      .refine((text) => parseCrashAt(text) !== undefined, `not POINT, POINT@OPERATION or POINT@OPERATION#TIME; the points are ${FAULT_POINTS.join(', ')}`)
      .optional(),
    about: 'Kills the service (kill -9) at a named point, such as gate.executed@kms.key.generate#2, the second time. For crash tests.',
  },
} as const satisfies Record<string, { readonly env: string; readonly schema: z.ZodType; readonly about: string }>

export type Config = { readonly [Name in keyof typeof SETTINGS]: z.infer<(typeof SETTINGS)[Name]['schema']> } & { readonly policy: string }

export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/**
 * Reads gridseal.yaml (`GRIDSEAL_CONFIG`, else in the working folder, when there is one), then the environment, which wins; what is empty in one of them is not set
 * there. Once; frozen.
 * Throws a {@link ConfigError} that names every setting that is wrong, and never its value.
 */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const file = env['GRIDSEAL_CONFIG'] ?? 'gridseal.yaml'
  const written: unknown = env['GRIDSEAL_CONFIG'] !== undefined || existsSync(file) ? parse(readFileSync(file, 'utf8')) : {}
  const fromFile = z.record(z.string(), z.unknown()).safeParse(written ?? {})
  if (!fromFile.success) throw new ConfigError(`${file}: not a list of settings`)

  const faults = Object.keys(fromFile.data)
    .filter((name) => !Object.hasOwn(SETTINGS, name))
    .map((name) => `${file}: there is no setting ${name}`)
  const values: Record<string, unknown> = {}
  for (const [name, { env: variable, schema }] of Object.entries(SETTINGS)) {
    const given = env[variable] === '' ? undefined : env[variable]
    const result = schema.safeParse(given ?? fromFile.data[name] ?? undefined)
    if (result.success) values[name] = result.data
    else faults.push(`${given === undefined ? `${file}: ${name}` : variable}: ${result.error.issues[0]?.message ?? 'not valid'}`)
  }
  if (faults.length > 0) throw new ConfigError(`settings that cannot be used:\n${faults.map((fault) => `  ${fault}`).join('\n')}`)
  const config = values as Config
  const data = resolve(config.data)
  return Object.freeze({ ...config, data, policy: config.policy ?? join(data, 'policy.yaml') })
}

/** For `gridseal settings`: every setting with its variable, default and meaning. */
export const describeSettings = (): { name: string; variable: string; about: string; fallback: string }[] =>
  Object.entries(SETTINGS).map(([name, { env, schema, about }]) => {
    const fallback: unknown = schema.safeParse(undefined).data
    return {
      name,
      variable: env,
      about,
      fallback: Array.isArray(fallback)
        ? fallback.join(',')
        : typeof fallback === 'string' || typeof fallback === 'number' || typeof fallback === 'boolean'
          ? `${fallback}`
          : '',
    }
  })
