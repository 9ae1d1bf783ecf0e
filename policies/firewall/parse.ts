import { isMap, isNode, isPair, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument, visit, type YAMLMap } from 'yaml'
import { hex, sha256, utf8 } from '../../core/bytes.ts'
import type { Fault } from '../../core/problem.ts'
import { PolicyError } from './policy-error.ts'
import { type OperationFacts, referenceFaults } from './references.ts'
import { POLICY, type PolicyDocument } from './schema.ts'

export type Path = readonly (string | number)[]

export interface Policy {
  readonly document: PolicyDocument
  /** SHA-256 of the policy's text, hex, first 16 digits. */
  readonly revision: string
  /** Where in the text something stands. `line` and `column` count from 1. */
  locate(path: Path): { readonly line: number; readonly column: number }
}

/** What is wrong at a place of the document. */
export interface Finding {
  readonly path: Path
  /** Where it is the name of a field that is wrong, rather than its value. */
  readonly isName?: true
  /** `found X, expected Y` */
  readonly message: string
}

const MOST_BYTES = 16 * 1024 * 1024
/** The most faults that are told of one policy. */
const MOST_FAULTS = 100

/**
 * Reads a policy (YAML 1.2; no aliases, no tags). Throws a {@link PolicyError} with all faults, 100 at most: duplicate keys, unknown fields, values of the wrong form,
 * zones and sets that are not there, rules of the same id. With `operations`, also patterns that cover none of them: a mistyped rule must not silently match nothing.
 */
export function parsePolicy(text: string, operations?: readonly OperationFacts[]): Policy {
  if (Buffer.byteLength(text) > MOST_BYTES) throw new PolicyError([{ message: `found more than ${String(MOST_BYTES)} bytes, expected a policy` }])
  const lines = new LineCounter()
  const place = (offset: number): { line: number; column: number } => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const { document, problems } = readYaml(text, lines, place)
  if (problems.length > 0) throw new PolicyError(bounded(problems))

  const contents = document.contents
  const pairs: Pairs = new WeakMap()
  const locate = (path: Path, isName = false): { line: number; column: number } => place(offsetOf(contents, path, isName, pairs))
  const value: unknown = document.toJS()
  const fail = (findings: readonly Finding[]): never => {
    const faults = findings.map(
      ({ path, message, isName }): Fault => ({ ...locate(path, isName), pointer: pointerTo(path), message: `${describePath(path, value)}: ${message}` }),
    )
    throw new PolicyError(bounded(faults.sort((a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0))))
  }
  if (typeof value === 'object' && value !== null && 'policy' in value && value.policy === 1) {
    fail([
      {
        path: ['policy'],
        message:
          'found 1, expected 2. Policies of version 1 are not read any more: docs/policy.md, "From version 1", says what becomes of each part; where the file was never edited, move it away and the shipped policy takes its place',
      },
    ])
  }
  const parsed = checked(value)
  if (!parsed.success) {
    return fail(
      parsed.error.issues.flatMap((issue): Finding[] => {
        const path = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step))
        if (issue.code === 'unrecognized_keys')
          return issue.keys.map((key) => ({ path: [...path, key], isName: true, message: 'found a field that is not known here' }))
        if (issue.code === 'invalid_key')
          return [{ path, isName: true, message: `found ${JSON.stringify(path.at(-1))}, expected ${issue.issues[0]?.message ?? 'a name'}` }]
        return [{ path, message: `found ${describeValue(valueAt(value, path))}, expected ${expected(issue)}` }]
      }),
    )
  }
  const findings = referenceFaults(parsed.data, operations)
  if (findings.length > 0) fail(findings)
  return { document: parsed.data, revision: hex(sha256(utf8(text))).slice(0, 16), locate }
}

/** The library hands on the faults of a list as arguments: a hundred thousand of one list are more than the stack holds. */
function checked(value: unknown): ReturnType<typeof POLICY.safeParse> {
  try {
    return POLICY.safeParse(value)
  } catch (error) {
    if (error instanceof RangeError) throw new PolicyError([{ message: 'found more faults than can be told, expected a policy' }])
    throw error
  }
}

type Place = (offset: number) => { line: number; column: number }

/** The YAML, and what a policy may not have of it. */
function readYaml(text: string, lines: LineCounter, place: Place) {
  try {
    // Keys are compared below: the library compares each with each.
    const document = parseDocument(text, { lineCounter: lines, uniqueKeys: false, strict: true, prettyErrors: false, stringKeys: true })
    const told = [...document.errors, ...document.warnings]
    if (told.some(({ message }) => message.includes('call stack'))) throw new RangeError('too deep')
    const faults: Fault[] = told.map(({ message, pos }) => ({ ...place(pos[0]), message: firstLine(message) }))
    if (faults.length === 0) {
      visit(document, {
        Alias: (_key, node) => void faults.push({ ...place(node.range?.[0] ?? 0), message: 'found an alias, expected the thing itself, or a set' }),
        Node: (_key, node) => {
          if (node.tag !== undefined) faults.push({ ...place(node.range?.[0] ?? 0), message: `found the tag ${node.tag}, expected none` })
        },
        Map: (_key, node) => {
          const seen = new Set<unknown>()
          for (const { key } of node.items) {
            const name = isScalar(key) ? key.value : undefined
            if (name === '__proto__') faults.push({ ...place(startOf(key) ?? 0), message: 'found "__proto__", expected another name' })
            if (seen.has(name)) faults.push({ ...place(startOf(key) ?? 0), message: `found ${JSON.stringify(name)} twice, expected unique keys` })
            seen.add(name)
          }
        },
      })
    }
    return { document, problems: faults }
  } catch (error) {
    if (error instanceof RangeError) throw new PolicyError([{ message: 'found lists in lists without end, expected a policy' }])
    throw error
  }
}

const firstLine = (message: string): string => message.split('\n', 1)[0] ?? ''

function bounded(faults: readonly Fault[]): readonly Fault[] {
  const rest = faults.length - MOST_FAULTS
  return rest > 0 ? [...faults.slice(0, MOST_FAULTS), { message: `and ${String(rest)} more` }] : faults
}

/** The pairs by name of each map that was looked into: a map of a hundred thousand fields may have as many faults. */
type Pairs = WeakMap<YAMLMap, ReadonlyMap<string, Pair>>

function pairOf(map: YAMLMap, name: string, pairs: Pairs): Pair | undefined {
  const known = pairs.get(map) ?? new Map(map.items.flatMap((pair) => (isScalar(pair.key) ? [[String(pair.key.value), pair] as const] : [])))
  pairs.set(map, known)
  return known.get(name)
}

/** Where a path leads; where it leads to nothing, where its parent is. */
function offsetOf(contents: unknown, path: Path, isName: boolean, pairs: Pairs): number {
  let node: unknown = contents
  let offset = isNode(node) ? (node.range?.[0] ?? 0) : 0
  for (const [at, step] of path.entries()) {
    const next: unknown = isMap(node) ? pairOf(node, String(step), pairs) : isSeq(node) ? node.items[Number(step)] : undefined
    const found: unknown = isPair(next) ? next.value : next
    const start =
      (isName && at === path.length - 1 && isPair(next) ? startOf(next.key) : undefined) ?? startOf(found) ?? (isPair(next) ? startOf(next.key) : undefined)
    if (start === undefined) return offset
    offset = start
    node = found
  }
  return offset
}

const startOf = (node: unknown): number | undefined => (isNode(node) ? (node as Node).range?.[0] : undefined)

function valueAt(value: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (at, step) => (typeof at === 'object' && at !== null && Object.hasOwn(at, step) ? (at as Record<string | number, unknown>)[step] : undefined),
    value,
  )
}

const MOST_SHOWN = 60
export function describeValue(value: unknown): string {
  if (value === undefined || value === null) return 'nothing'
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (typeof value === 'object') return 'a map'
  const text = JSON.stringify(value) ?? ''
  return text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}...` : text
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'text',
  array: 'a list',
  object: 'a map',
  record: 'a map',
  number: 'a number',
  boolean: 'true or false',
}
function expected(issue: { readonly code?: string; readonly message: string; readonly expected?: unknown }): string {
  if (issue.code === 'invalid_type' && issue.message.startsWith('Invalid')) return KINDS[String(issue.expected)] ?? String(issue.expected)
  return issue.message
}

/** `chains.0.rules.2.verdict`, and which rule or test that is. */
function describePath(path: Path, value: unknown): string {
  const names = path.flatMap((_step, at): string[] => {
    const found = valueAt(value, path.slice(0, at + 1))
    if (typeof found !== 'object' || found === null) return []
    if ('id' in found && typeof found.id === 'string') return [`rule ${describeName(found.id)}`]
    return path[at - 1] === 'tests' && 'name' in found && typeof found.name === 'string' ? [`test ${describeName(found.name)}`] : []
  })
  const where = path.length === 0 ? 'the document' : path.join('.')
  return names.length > 0 ? `${where} (${names.join(', ')})` : where
}

const describeName = (name: string): string => name.slice(0, MOST_SHOWN)

/** RFC 6901. */
const pointerTo = (path: Path): string => path.map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
