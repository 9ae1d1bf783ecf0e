import type { ApiClient } from '../../clients/api.ts'
import { CliError } from './cli-error.ts'
import { withClient } from './with-client.ts'

export interface RotateOptions {
  readonly reason?: string
  readonly approve?: string
  readonly cancel?: string
  readonly acceptRefused?: string
  readonly count?: string
  /** `true`: the newest. */
  readonly status?: string | true
  readonly json?: boolean
  readonly url: string
  readonly certificate: string
  readonly key: string
  readonly trust: string
}

/** A rotation, as the service shows it. */
interface Rotation {
  readonly rotationId: string
  readonly key: string
  readonly from: string
  readonly to: string
  readonly reason: string
  readonly state: 'requested' | 'making' | 'working' | 'closing' | 'retired' | 'cancelled'
  readonly requestedBy: string
  readonly requestedAt: string
  readonly decidedBy?: string
  readonly decidedAt?: string
  readonly pass: number
  readonly rows: Readonly<Record<'total' | 'seen' | 'found' | 'refused' | 'renewed' | 'accepted', number>>
  readonly rowsPerSecond?: number
  readonly waitsFor?: number
  readonly endedAt?: string
}

const BASE = '/v1/kms/root-keys'

/** One of: ask, approve, cancel, give rows up, show. Prints the rotation as it is then. */
export async function rotateCommand(options: RotateOptions & { readonly rotated?: string }): Promise<void> {
  const ask = requestOf(options)
  const rotation = await withClient(options, ask)
  console.log(options.json === true ? JSON.stringify(rotation, undefined, 2) : describeRotation(rotation).join('\n'))
}

type Ask = (client: ApiClient) => Promise<Rotation>

/** Throws a {@link CliError} unless exactly one thing is asked for. */
function requestOf({ rotated, reason, approve, cancel, acceptRefused, count, status }: RotateOptions & { readonly rotated?: string }): Ask {
  const asks: Ask[] = []
  if (rotated !== undefined || reason !== undefined) {
    if (rotated === undefined || reason === undefined)
      throw new CliError('To ask for a rotation name the key and why: gridseal token rotate storage-kek --reason yearly')
    asks.push((client) => client.post<Rotation>(`${BASE}/${rotated}/rotations`, { reason }))
  }
  if (approve !== undefined) asks.push((client) => client.post<Rotation>(`${BASE}/rotations/${idOf(approve)}/approve`))
  if (cancel !== undefined) asks.push((client) => client.post<Rotation>(`${BASE}/rotations/${idOf(cancel)}/cancel`))
  if (acceptRefused !== undefined) {
    if (count === undefined || !/^[1-9]\d{0,8}$/.test(count)) throw new CliError('Say with --count how many rows you give up: `refused` of --status.')
    asks.push((client) => client.post<Rotation>(`${BASE}/rotations/${idOf(acceptRefused)}/accept-refused`, { count: Number(count) }))
  }
  if (status !== undefined) asks.push((client) => (status === true ? newest(client) : client.get<Rotation>(`${BASE}/rotations/${idOf(status)}`)))
  const [ask, ...others] = asks
  if (ask === undefined || others.length > 0)
    throw new CliError('Name one thing to do: a key with --reason, or --approve, --cancel, --accept-refused or --status. See: gridseal token rotate --help')
  return ask
}

async function newest(client: ApiClient): Promise<Rotation> {
  const { rotations } = await client.get<{ rotations: Rotation[] }>(`${BASE}/rotations?limit=1`)
  const [rotation] = rotations
  if (rotation === undefined) throw new CliError('No root key was ever rotated.')
  return client.get<Rotation>(`${BASE}/rotations/${rotation.rotationId}`)
}

/** Nothing but a UUID goes into an address. */
function idOf(text: string): string {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) throw new CliError(`${text} is not the id of a rotation: a UUID in lower case.`)
  return text
}

const STATES: Readonly<Record<Rotation['state'], string>> = {
  requested: 'requested: another officer is to approve it',
  making: 'the new key is being made; if that was cut off, approve it once more',
  working: 'rows are brought under the new key',
  closing: 'nothing is under the old key, which is about to be destroyed',
  retired: 'at its end: the old key is destroyed',
  cancelled: 'cancelled',
}

/** The rotation as text, with what is left and what to do. */
export function describeRotation(r: Rotation): string[] {
  const { rows } = r
  const lines = [
    `rotation    ${r.rotationId}`,
    `key         ${r.from} to ${r.to}`,
    `reason      ${r.reason}`,
    `asked by    ${r.requestedBy}, ${r.requestedAt}`,
    ...(r.decidedBy === undefined ? [] : [`${r.state === 'cancelled' ? 'cancelled' : 'approved'.padEnd(9)}   ${r.decidedBy}, ${r.decidedAt ?? ''}`]),
    `state       ${STATES[r.state]}`,
  ]
  if (r.state === 'requested') lines.push(`next        another officer: gridseal token rotate --approve ${r.rotationId} ...`)
  if (r.pass === 0) return lines
  const rate = r.rowsPerSecond === undefined ? '' : `, ${r.rowsPerSecond} a second`
  lines.push(
    `rows        ${rows.renewed} brought under the new key; pass ${r.pass}: ${rows.seen} of about ${rows.total} seen${rate}, ${rows.found} under the old key`,
  )
  if (r.state === 'working') lines.push(`left        ${leftOf(r)}`)
  if (rows.refused > 0) {
    lines.push(
      `refused     ${rows.refused} rows are of no key: someone changed them in the database. The log names them (kms.root-key.renew). ${
        rows.refused > rows.accepted
          ? `The old key stays until they are put back from a backup, or given up: gridseal token rotate --accept-refused ${r.rotationId} --count ${rows.refused} ...`
          : 'They were given up.'
      }`,
    )
  }
  if ((r.waitsFor ?? 0) > 0 && r.state !== 'requested')
    lines.push(`waits for   ${r.waitsFor ?? 0} processes of the service, which have yet to hear of the newest keys, or to end what they had begun`)
  if (r.state === 'retired') lines.push(`next        export the token's backup anew, if it has one: gridseal token backup`)
  return lines
}

function leftOf({ rows, rowsPerSecond, pass }: Rotation): string {
  const left = Math.max(0, rows.total - rows.seen)
  const seconds = rowsPerSecond === undefined ? undefined : Math.ceil(left / rowsPerSecond)
  const time = seconds === undefined ? '' : `, about ${seconds} s`
  return `${left} rows of this pass${time}; ${pass === 1 ? 'then a pass that looks at all of them again' : 'the pass is the last if it finds nothing under the old key'}; then the old key is destroyed`
}
