import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { base64, concat, fromBase64, fromHex, hex, sha256, utf8 } from '../../core/bytes.ts'
import { createDurably, syncPath, writeDurably } from '../../core/durable-file.ts'
import { type LogKey, NoteError, parseLogKey } from '../../policies/audit/checkpoint.ts'
import { cosignatureLine, cosignedMessage, type WitnessKey, witnessKey } from '../../policies/audit/cosignature.ts'
import { EMPTY_ROOT } from '../../policies/audit/merkle.ts'
import type { WitnessedHead, WitnessState } from './witness.ts'

/**
 * The folder of a witness:
 * `key` (mode 0600) its name and private key; `logs` the verifier keys of the logs that it watches, one a line; `state/` a file for each origin, named by its SHA-256.
 * The state of a log is made before the log is listed: a log without one has lost it, and is not cosigned again. Whoever sets the folder back to an older
 * copy makes a witness that can be shown another history; such a witness needs a new key.
 */

/** A folder that is no witness's, or not whole. */
export class WitnessFolderError extends Error {
  override readonly name = 'WitnessFolderError'
}

/** PKCS#8 of an Ed25519 private key (RFC 8410) up to its 32 bytes. */
const ED25519_PKCS8 = fromHex('302e020100300506032b657004220420')
const SKEY = /^PRIVATE\+KEY\+([^+\s]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+=*)\n$/
const TYPE_ED25519_COSIGNATURE = 4
/** How often a list of logs that may have grown is looked at. */
const RELOAD_MS = 1000

const keyPath = (folder: string): string => join(folder, 'key')
const logsPath = (folder: string): string => join(folder, 'logs')
const statePath = (folder: string, origin: string): string => join(folder, 'state', hex(sha256(utf8(origin))))

/** Makes the folder and its key; answers the verifier key. Throws a {@link WitnessFolderError} where there is a key. */
export function initWitness(folder: string, name: string): string {
  if (existsSync(keyPath(folder))) throw new WitnessFolderError(`${folder} is a witness already`)
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const key = witnessKey(name, publicKey.export({ format: 'der', type: 'spki' }))
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(ED25519_PKCS8.length)
  mkdirSync(join(folder, 'state'), { recursive: true, mode: 0o700 })
  syncPath(folder)
  createDurably(keyPath(folder), `PRIVATE+KEY+${name}+${key.id}+${base64(concat(Buffer.of(TYPE_ED25519_COSIGNATURE), seed))}\n`)
  return key.vkey
}

/**
 * Adds a key of a log; a witness that serves takes it up within a second. A further key of an origin that is watched is one more that may sign.
 * Throws a {@link WitnessFolderError}, and a NoteError on a key that is none.
 */
export function addLog(folder: string, vkey: string): LogKey {
  readKey(folder)
  const key = parseLogKey(vkey)
  const listed = readLogs(folder)
  if (listed.some((log) => log.vkey === key.vkey)) throw new WitnessFolderError('the log is watched already')
  const path = statePath(folder, key.name)
  const isWatched = listed.some(({ name }) => name === key.name)
  if (isWatched && !existsSync(path)) throw lost(key.name)
  // 1. the state, 2. the list: a crash between them leaves a state that nobody asks for, and the next run takes it.
  if (!existsSync(path)) createDurably(path, encodeState(key.name, { size: 0, root: EMPTY_ROOT }, ''))
  writeDurably(logsPath(folder), [...listed, key].map((log) => `${log.vkey}\n`).join(''))
  return key
}

/** A witness's folder, open. Who opens it holds its lock. */
export class WitnessFolder implements WitnessState {
  readonly key: WitnessKey
  readonly #folder: string
  readonly #privateKey: KeyObject
  readonly #heads = new Map<string, WitnessedHead>()
  #logs: readonly LogKey[] = []
  #logsStamp = ''
  #lookedAtMs = Number.NEGATIVE_INFINITY

  /** Throws a {@link WitnessFolderError} where a part is missing or broken. */
  constructor(folder: string) {
    this.#folder = folder
    const { key, privateKey } = readKey(folder)
    this.key = key
    this.#privateKey = privateKey
    this.#load()
  }

  /** As it is known now. */
  get origins(): readonly string[] {
    return [...this.#heads.keys()]
  }

  keysOf(origin: string): readonly LogKey[] {
    if (performance.now() - this.#lookedAtMs > RELOAD_MS) this.#load()
    return this.#logs.filter(({ name }) => name === origin)
  }

  headOf(origin: string): WitnessedHead {
    const head = this.#heads.get(origin)
    if (head === undefined) throw lost(origin)
    return head
  }

  record(origin: string, head: WitnessedHead, note: string): void {
    writeDurably(statePath(this.#folder, origin), encodeState(origin, head, note))
    this.#heads.set(origin, head)
  }

  /** The line of a cosignature over a checkpoint's text, at this time. */
  cosign(text: string, nowMs: number): string {
    const timestamp = Math.floor(nowMs / 1000)
    return cosignatureLine(this.key, timestamp, sign(null, cosignedMessage(text, timestamp), this.#privateKey))
  }

  #load(): void {
    this.#lookedAtMs = performance.now()
    const stamp = stampOf(logsPath(this.#folder))
    if (stamp === this.#logsStamp) return
    const logs = readLogs(this.#folder)
    // What is in memory is as new as the disk: nobody else writes it.
    for (const { name } of logs) if (!this.#heads.has(name)) this.#heads.set(name, readState(this.#folder, name))
    this.#logs = logs
    this.#logsStamp = stamp
  }
}

function readKey(folder: string): { readonly key: WitnessKey; readonly privateKey: KeyObject } {
  const text = readIf(keyPath(folder))
  if (text === undefined) throw new WitnessFolderError(`${folder} is no witness: gridseal witness init makes one`)
  const [, name = '', id, encoded = ''] = SKEY.exec(text) ?? []
  const bytes = fromBase64(encoded)
  if (bytes.length !== 33 || bytes[0] !== TYPE_ED25519_COSIGNATURE) throw new WitnessFolderError(`${keyPath(folder)} is not a key of a witness`)
  const privateKey = createPrivateKey({ key: Buffer.from(concat(ED25519_PKCS8, bytes.subarray(1))), format: 'der', type: 'pkcs8' })
  const key = witnessKey(name, createPublicKey(privateKey).export({ format: 'der', type: 'spki' }))
  if (key.id !== id) throw new WitnessFolderError(`${keyPath(folder)} was changed: its id is not its key's`)
  return { key, privateKey }
}

function readLogs(folder: string): LogKey[] {
  try {
    return (readIf(logsPath(folder)) ?? '').split('\n').filter(Boolean).map(parseLogKey)
  } catch (error) {
    if (!(error instanceof NoteError)) throw error
    throw new WitnessFolderError(`${logsPath(folder)}: ${error.message}`, { cause: error })
  }
}

const encodeState = (origin: string, { size, root }: WitnessedHead, note: string): string =>
  `${JSON.stringify({ origin, size, root: base64(root), note }, undefined, 2)}\n`

function readState(folder: string, origin: string): WitnessedHead {
  const text = readIf(statePath(folder, origin))
  if (text === undefined) throw lost(origin)
  try {
    const state = JSON.parse(text) as { readonly origin: unknown; readonly size: unknown; readonly root: unknown }
    const root = fromBase64(String(state.root))
    if (state.origin === origin && Number.isSafeInteger(state.size) && Number(state.size) >= 0 && root.length === 32) return { size: Number(state.size), root }
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new WitnessFolderError(
    `${statePath(folder, origin)} is broken: what the witness cosigned of ${origin} is not known any more, and it must not cosign it again`,
  )
}

const lost = (origin: string): WitnessFolderError =>
  new WitnessFolderError(
    `the state of ${origin} is gone: what the witness cosigned is not known any more, and it must not cosign it again. Make another witness, with a new key.`,
  )

function readIf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function stampOf(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false, bigint: true })
  return found === undefined ? '' : `${found.ino}/${found.mtimeNs}/${found.size}`
}
