import { setFlagsFromString } from 'node:v8'
import { type PolicyId, preparsePolicySet, statefulIsAuthorized } from '@cedar-policy/cedar-wasm/nodejs'
import { callerUrn } from '../../caller.ts'
import { ATTRIBUTES, type Attribute } from '../attribute.ts'
import type { Asked } from '../decide.ts'
import type { OperationFacts } from '../references.ts'
import type { PolicyDocument, RuleDocument } from '../schema.ts'

// V8 11.3 (Node 20) ends the process when code with an inlined call into WebAssembly is thrown away while the call is under way.
setFlagsFromString('--no-turbo-inline-js-wasm-calls')

/** A decision function of Cedar: whether it allows, and by which policies. */
export type CedarDecide = (asked: Asked) => { readonly allows: boolean; readonly rules: readonly PolicyId[] }

/**
 * The rules of the first chain as a Cedar policy set, parsed once. Cedar has no order, and a `forbid` outweighs every `permit`: so rules that deny are to stand before all others.
 * Zones, times, expiry, sets, `?` in labels and claims have no counterpart here.
 */
export function cedarDecide(name: string, document: PolicyDocument, operations: readonly OperationFacts[]): CedarDecide {
  const staticPolicies = Object.fromEntries((document.chains[0]?.rules ?? []).map((rule) => [rule.id, cedarPolicy(rule, operations)]))
  const parsed = preparsePolicySet(name, { staticPolicies })
  if (parsed.type === 'failure') throw new Error(parsed.errors.map(({ message }) => message).join('\n'))
  return ({ caller, operation, facts }) => {
    const answer = statefulIsAuthorized({
      principal: { type: caller.kind, id: caller.name },
      action: { type: 'Action', id: operation },
      resource: { type: 'Service', id: 'gridseal' },
      context: { caller: callerUrn(caller), ...(caller.strength === undefined ? {} : { strength: caller.strength }), facts: facts as Record<string, string> },
      preparsedPolicySetId: name,
      entities: [],
    })
    if (answer.type === 'failure') throw new Error(answer.errors.map(({ message }) => message).join('\n'))
    const { decision, diagnostics } = answer.response
    if (diagnostics.errors.length > 0) throw new Error(diagnostics.errors.map(({ error }) => error.message).join('\n'))
    return { allows: decision === 'allow', rules: diagnostics.reason }
  }
}

function cedarPolicy(rule: RuleDocument, operations: readonly OperationFacts[]): string {
  const actions = rule.operations.flatMap((item) =>
    operations
      .filter(({ name }) => item === '*' || item === name || (item.endsWith('.*') && name.startsWith(item.slice(0, -1))))
      .map(({ name }) => `Action::${text(name)}`),
  )
  const conditions = [
    `[${actions.join(', ')}].contains(action)`,
    ...anyOf(rule.callers, (item) => {
      const [kind = '', name = ''] = item.split(':')
      return name === '*' ? `principal is ${kind}` : `principal == ${kind}::${text(name)}`
    }),
    ...anyOf(rule.roles, (role) => `principal is ${role}`),
    ...anyOf(rule.strength, (strength) => `(context has strength && context.strength == ${text(strength)})`),
    ...(Object.keys(ATTRIBUTES) as Attribute[]).flatMap((name) => {
      const fact = ATTRIBUTES[name]
      return anyOf(rule[name], (item) => {
        if (name === 'keyLabels') return `(context.facts has ${fact} && context.facts.${fact} like ${text(item)})`
        if (name === 'regions') return `(context.facts has ${fact} && context.facts.${fact} like ${text(`${item}*`)})`
        return `(context.facts has ${fact} && context.facts.${fact} == ${text(item)})`
      })
    }),
    ...Object.entries(rule.where ?? {}).map(([fact, wanted]) => {
      const values = wanted === '$caller' ? ['context.caller'] : Array.isArray(wanted) ? wanted.flatMap(alike) : [JSON.stringify(wanted)]
      return `context.facts has ${fact} && [${values.join(', ')}].contains(context.facts.${fact})`
    }),
  ]
  return `${rule.verdict === 'deny' ? 'forbid' : 'permit'}(principal, action, resource) when { ${conditions.join(' && ')} };`
}

const text = (value: string): string => JSON.stringify(value)
const alike = (value: string): string[] => [text(value), ...(/^\d+$/.test(value) || value === 'true' || value === 'false' ? [value] : [])]
const anyOf = <Item>(items: readonly Item[] | undefined, condition: (item: Item) => string): string[] =>
  items === undefined ? [] : [`(${items.map(condition).join(' || ')})`]
