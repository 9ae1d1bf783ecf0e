import { isIP } from 'node:net'
import { parseDocument } from 'yaml'
import { z } from 'zod'
import { hex, sha256, utf8 } from '../../core/bytes.ts'
import { CALLER_KINDS } from '../caller.ts'

const NAME = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, 'a name is 1 to 64 of a-z, 0-9, dot, dash, underscore')
const CIDR = z.string().refine(isCidr, 'an address range is written 10.1.0.0/16 or 2001:db8::/32')
/** `officer:*`, `module:billing`, `system:fill` */
const CALLER = z.string().regex(new RegExp(`^(${CALLER_KINDS.join('|')}|system):(\\*|[a-z0-9][a-z0-9._-]{0,63})$`), 'a caller is written kind:name or kind:*')
/** `kms.key.sign`, `kms.key.*`, `*` */
const OPERATION = z.string().regex(/^(\*|[a-z0-9-]+(\.[a-z0-9-]+)*(\.\*)?)$/, 'an operation is written kms.key.sign, kms.key.* or *')

const RULE = z.strictObject({
  name: NAME,
  effect: z.enum(['allow', 'deny']),
  /** Zones that the connection may come from. Absent: anywhere. The service's own jobs come from nowhere, and match only rules without zones. */
  zones: z.array(NAME).min(1).optional(),
  callers: z.array(CALLER).min(1),
  operations: z.array(OPERATION).min(1),
  /** Facts that must hold: a value, one of several, or `$caller` for the caller's own URN. A fact that the operation does not state matches nothing. */
  where: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.array(z.string()).min(1)])).optional(),
})

const POLICY = z.strictObject({
  policy: z.literal(1),
  zones: z.record(NAME, z.array(CIDR).min(1)).default({}),
  rules: z.array(RULE),
})

export type Rule = z.infer<typeof RULE>
export interface Policy {
  readonly zones: Readonly<Record<string, readonly string[]>>
  readonly rules: readonly Rule[]
  /** SHA-256 of the policy's text, hex, first 16 digits. */
  readonly revision: string
}

/** A policy that cannot be used. `faults` has one line for each thing wrong, with its place. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError'
  readonly faults: readonly string[]
  constructor(faults: readonly string[]) {
    super(`the policy cannot be used:\n${faults.map((fault) => `  ${fault}`).join('\n')}`)
    this.faults = faults
  }
}

/** Reads a policy (YAML 1.2). Throws a {@link PolicyError}: duplicate keys, unknown fields, undefined zones and rules of the same name are faults. */
export function parsePolicy(text: string): Policy {
  const document = parseDocument(text, { uniqueKeys: true, strict: true })
  if (document.errors.length > 0) throw new PolicyError(document.errors.map((error) => error.message.split('\n')[0] ?? 'not YAML'))
  const parsed = POLICY.safeParse(document.toJS({ maxAliasCount: 0 }))
  if (!parsed.success) throw new PolicyError(parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`))
  const { zones, rules } = parsed.data
  const faults: string[] = []
  const seen = new Set<string>()
  rules.forEach((rule, at) => {
    if (seen.has(rule.name)) faults.push(`rules.${at}: there is a rule named ${rule.name} already`)
    seen.add(rule.name)
    for (const zone of rule.zones ?? []) if (!Object.hasOwn(zones, zone)) faults.push(`rules.${at} (${rule.name}): no zone is named ${zone}`)
  })
  if (faults.length > 0) throw new PolicyError(faults)
  return { zones, rules, revision: hex(sha256(utf8(text))).slice(0, 16) }
}

function isCidr(text: string): boolean {
  const [address, prefix, ...rest] = text.split('/')
  const family = isIP(address ?? '')
  return rest.length === 0 && family !== 0 && prefix !== undefined && /^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128)
}
