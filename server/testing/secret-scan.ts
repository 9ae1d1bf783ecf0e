import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs'
import { join, relative } from 'node:path'

/** A secret that lies where it was looked for. */
export interface Finding {
  readonly secret: string
  /** How it was written there. */
  readonly form: string
  /** The file, region or line. */
  readonly place: string
  readonly offset: number
}

interface Pattern {
  readonly secret: string
  readonly form: string
  readonly bytes: Buffer
}

const PREFIX = 4
const FILTER_BITS = 24
const BLOCK_BYTES = 8 * 1024 * 1024

/** Looks for many secrets at once, in every form in which a program may hold one: raw, as a little-endian number, hex, base64 at each alignment, one and two bytes a character. */
export class SecretScan {
  readonly #byPrefix = new Map<number, Pattern[]>()
  readonly #filter = new Uint8Array(2 ** (FILTER_BITS - 3))
  #longest = 0
  /** Bytes looked at. */
  scanned = 0

  /** A secret of 16 bytes or more: shorter ones are found where they are not. */
  add(secret: string, value: Uint8Array | string): this {
    const bytes = Buffer.from(value)
    if (bytes.length < 16) throw new RangeError('a secret to look for has at least 16 bytes')
    for (const [form, form8] of formsOf(bytes)) {
      this.#plant({ secret, form, bytes: form8 })
      if (form !== 'raw' || typeof value === 'string') this.#plant({ secret, form: `${form}, UTF-16`, bytes: Buffer.from(form8.toString('latin1'), 'utf16le') })
    }
    return this
  }

  text(text: string, place: string): Finding[] {
    return this.bytes(Buffer.from(text), place)
  }

  bytes(bytes: Buffer, place: string, base = 0): Finding[] {
    const found: Finding[] = []
    this.scanned += bytes.length
    let word = 0
    for (let at = 0; at < bytes.length; at++) {
      word = ((word << 8) | (bytes[at] ?? 0)) >>> 0
      const slot = slotOf(word)
      if (((this.#filter[slot >>> 3] ?? 0) & (1 << (slot & 7))) === 0) continue
      const from = at - PREFIX + 1
      for (const { secret, form, bytes: pattern } of this.#byPrefix.get(word) ?? []) {
        if (from >= 0 && bytes.compare(pattern, 0, pattern.length, from, Math.min(from + pattern.length, bytes.length)) === 0)
          found.push({ secret, form, place, offset: base + from })
      }
    }
    return found
  }

  /** Every file below the folder, by its path from there. Sockets and what goes away meanwhile are passed over. */
  folder(folder: string): Finding[] {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .flatMap((entry) => this.#file(join(entry.parentPath, entry.name), relative(folder, join(entry.parentPath, entry.name))))
  }

  /** The memory of a process, which stands still while it is copied (one that stood still as long as the search takes would be taken for hung): every readable private region that is not a file's own text (proc(5), /proc/PID/maps). */
  memory(pid: number): Finding[] {
    return this.#copyOf(pid).flatMap(({ bytes, at, place }) => this.bytes(bytes, place, at))
  }

  #copyOf(pid: number): { readonly bytes: Buffer; readonly at: number; readonly place: string }[] {
    process.kill(pid, 'SIGSTOP')
    try {
      const memory = openSync(`/proc/${String(pid)}/mem`, 'r')
      const regions = readFileSync(`/proc/${String(pid)}/maps`, 'utf8')
        .trim()
        .split('\n')
        .flatMap(privateRegion)
      const copy = regions.flatMap(({ from, to, name }) => [...this.#blocks(memory, from, to)].map((block) => ({ ...block, place: `memory, ${name}` })))
      closeSync(memory)
      return copy
    } finally {
      process.kill(pid, 'SIGCONT')
    }
  }

  #file(path: string, place: string): Finding[] {
    let file: number
    try {
      file = openSync(path, 'r')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
    try {
      return this.#range(file, { from: 0, to: fstatSync(file).size, place })
    } finally {
      closeSync(file)
    }
  }

  /** In blocks that overlap by the longest pattern. What lies in an overlap may be found twice. */
  #range(file: number, { from, to, place }: { readonly from: number; readonly to: number; readonly place: string }): Finding[] {
    const found: Finding[] = []
    for (const { bytes, at } of this.#blocks(file, from, to)) found.push(...this.bytes(bytes, place, at))
    return found
  }

  *#blocks(file: number, from: number, to: number): Generator<{ readonly bytes: Buffer; readonly at: number }> {
    for (let at = from; at < to; at += BLOCK_BYTES - this.#longest) {
      const block = Buffer.alloc(Math.min(BLOCK_BYTES, to - at))
      yield { bytes: block.subarray(0, readSome(file, block, at, block.length)), at }
      if (at + block.length >= to) break
    }
  }

  #plant(pattern: Pattern): void {
    const word = pattern.bytes.readUInt32BE(0)
    const slot = slotOf(word)
    this.#filter[slot >>> 3] = (this.#filter[slot >>> 3] ?? 0) | (1 << (slot & 7))
    this.#byPrefix.set(word, [...(this.#byPrefix.get(word) ?? []), pattern])
    this.#longest = Math.max(this.#longest, pattern.bytes.length)
  }
}

const slotOf = (word: number): number => Math.imul(word, 0x9e37_79b1) >>> (32 - FILTER_BITS)

function formsOf(bytes: Buffer): [string, Buffer][] {
  const forms: [string, Buffer][] = [
    ['raw', bytes],
    ['reversed', Buffer.from(bytes.toReversed())],
    ['hex', Buffer.from(bytes.toString('hex'))],
    ['HEX', Buffer.from(bytes.toString('hex').toUpperCase())],
  ]
  for (let before = 0; before < 3; before++) {
    // Only the characters that this secret alone decides.
    const padded = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64')
    const own = padded.slice(Math.ceil((8 * before) / 6), Math.floor((8 * (before + bytes.length)) / 6))
    const url = own.replaceAll('+', '-').replaceAll('/', '_')
    // PEM breaks its lines somewhere: one half of a short secret is whole then. Both halves find the unbroken text too.
    for (const text of new Set([own, url])) {
      const half = Math.floor(text.length / 2)
      for (const part of [text.slice(0, half), text.slice(half)]) forms.push([`base64 ${String(before)}`, Buffer.from(part)])
    }
  }
  return forms
}

function privateRegion(line: string): { from: number; to: number; name: string }[] {
  const [, from = '', to = '', rights = '', inode = '', name = ''] = /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+)\s*(.*)$/.exec(line) ?? []
  const isFileText = inode !== '0' && !rights.includes('w')
  if (!rights.startsWith('r') || !rights.endsWith('p') || isFileText || /^\[(vsyscall|vvar.*|vdso)\]$/.test(name)) return []
  return [{ from: Number.parseInt(from, 16), to: Number.parseInt(to, 16), name: name === '' ? from : name }]
}

/** As much as there is: a region can be shorter than its line says. */
function readSome(file: number, block: Buffer, at: number, length: number): number {
  try {
    return readSync(file, block, 0, length, at)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EIO') return 0
    throw error
  }
}
