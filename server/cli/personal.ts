import { readFileSync } from 'node:fs'
import type { AskOptions as Options } from './api-command.ts'
import { show } from './api-command.ts'
import { CliError } from './cli-error.ts'
import { tellOrHeld } from './hold.ts'
import { assertReach, withClient } from './with-client.ts'

interface Subject {
  readonly name?: string
  readonly value: string
}
interface Tally {
  readonly values: number
  readonly entries: number
  readonly names: readonly string[]
  readonly earliest?: string
  readonly latest?: string
  readonly retained: number
  readonly retentionDays: number
}
interface Erasure {
  readonly erasure: string
  readonly values: number
  readonly entries: number
  readonly retained: number
}

/** Values are never words of the command line, which other programs of the machine see and shells remember: they come from a file, or standard input (`-`). */
export function readSubjects(file: string): readonly Subject[] {
  let text: string
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch {
    throw new CliError(`${file} cannot be read.`)
  }
  const subjects = text.split('\n').flatMap((line, at): Subject[] => {
    if (line.trim() === '') return []
    const [, name = '', value = ''] = /^(\S+)[ \t]+(.*\S)\s*$/.exec(line) ?? []
    if (value === '') throw new CliError(`line ${String(at + 1)}: expected a name and a value, such as iccid 8986...; * for any name.`)
    return [name === '*' ? { value } : { name, value }]
  })
  if (subjects.length === 0) throw new CliError('No values: a line each, with a name and a value.')
  return subjects
}

const describeTally = (t: Tally): readonly string[] =>
  t.values === 0
    ? ['The log can show no such value.']
    : [
        `${String(t.values)} values in ${String(t.entries)} entries, as ${t.names.join(', ')}`,
        `  from ${t.earliest ?? ''} to ${t.latest ?? ''}`,
        ...(t.retained === 0 ? [] : [`  ${String(t.retained)} are younger than ${String(t.retentionDays)} days, and would stay`]),
      ]

const describeErasure = (e: Erasure): readonly string[] => [
  `${String(e.values)} values of ${String(e.entries)} entries are erased: ${e.erasure}`,
  ...(e.retained === 0 ? [] : [`  ${String(e.retained)} are too young, and stay`]),
]

export const findPersonalCommand = ({ subjects, ...options }: Options & { readonly subjects: string }): Promise<unknown> =>
  show<Tally>(options, ['POST', '/v1/policies/personal/find', { subjects: readSubjects(subjects) }], describeTally)

export async function erasePersonalCommand({ subjects, reason, ...options }: Options & { readonly subjects: string; readonly reason: string }): Promise<void> {
  assertReach(options)
  const body = { subjects: readSubjects(subjects), reason }
  await withClient(options, (client) => tellOrHeld(options, () => client.post<Erasure>('/v1/policies/personal/erase', body), describeErasure))
}

export interface RevealOptions extends Options {
  readonly entry: readonly string[]
  readonly name: readonly string[]
  readonly reason: string
}

/** It is held in any case: the values come with `gridseal hold run`. */
export async function revealCommand({ entry, name, reason, ...options }: RevealOptions): Promise<void> {
  assertReach(options)
  const entries = entry.map((text) => {
    if (!/^\d{1,15}$/.test(text)) throw new CliError(`--entry: found ${text}, expected the index of an entry.`)
    return Number(text)
  })
  const body = { entries, reason, ...(name.length === 0 ? {} : { names: name }) }
  await withClient(options, (client) =>
    tellOrHeld(
      options,
      () => client.post<object>('/v1/policies/audit/reveal', body),
      (answer) => [JSON.stringify(answer, undefined, 2)],
    ),
  )
}
