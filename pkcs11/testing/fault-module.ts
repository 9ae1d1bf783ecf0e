import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdtempSync, openSync, readSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findSoftHsm } from '../token-folder.ts'

/** What happens to a call that a fault strikes. Unless it says otherwise, the real module is asked afterwards. */
export type FaultAction =
  /** Answers a CKR_ number. `done`: after the real module has done the call. Default false. */
  | { readonly kind: 'answer'; readonly value: number; readonly done?: boolean }
  /** Until the fault is removed. */
  | { readonly kind: 'hang' }
  /** SIGABRT inside the call. */
  | { readonly kind: 'crash' }
  /** The module ends its process by itself. */
  | { readonly kind: 'exit' }
  /** The session of the call, or all sessions, are closed first. */
  | { readonly kind: 'close' }
  | { readonly kind: 'close-all' }
  /** The login is lost first. */
  | { readonly kind: 'logout' }
  | { readonly kind: 'slow'; readonly byMs: number }
  /** The token is out of its slot: no slot has a token, what was open is closed, each call on it is refused. For the function `*`. */
  | { readonly kind: 'removed' }

export interface Fault {
  /** A function of PKCS#11, or `*` for each. */
  readonly function: `C_${string}` | '*'
  readonly action: FaultAction
  /** How many calls of the function pass before it. Default 0. */
  readonly after?: number
  /** How many calls it strikes. Default: until it is removed. */
  readonly times?: number
  /** Only in this process. Default: in every one, whose calls are counted together. */
  readonly pid?: number
}

export interface Injected {
  /** How many calls it has struck. */
  readonly hits: number
  remove(): void
}

/** What a living process that loaded the module has open, by its own calls. Objects end with the session that made them. */
export interface ModuleUse {
  readonly pid: number
  readonly sessions: number
  readonly objects: number
}

/** A PKCS#11 module that is SoftHSM2, and fails as it is told. */
export interface FaultModule {
  /** For `module-path`. */
  readonly path: string
  /** What the processes that load it need in their environment. */
  readonly environment: Readonly<Record<string, string>>
  inject(fault: Fault): Injected
  /** Removes every fault. */
  clear(): void
  uses(): ModuleUse[]
  /** Removes the module; who has loaded it keeps it. */
  close(): void
}

/** The layout of `struct control` in fault-shim.c. */
const FAULTS = 8
const FAULT_BYTES = 128
const FAULT = { serial: 0, function: 8, action: 40, value: 56, after: 64, times: 72, pid: 80, hits: 96 } as const
const NAME_BYTES = 31
const PROCESSES = 256
const PROCESS_BYTES = 32
const PROCESSES_AT = FAULTS * FAULT_BYTES

/** Compiles the module into a temporary folder. Throws what the compiler says. */
export function faultModule(): FaultModule {
  const folder = mkdtempSync(join(tmpdir(), 'gridseal-faults-'))
  const [path, controlFile] = [join(folder, 'fault-shim.so'), join(folder, 'control')]
  try {
    compile(path)
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
  writeFileSync(controlFile, Buffer.alloc(PROCESSES_AT + PROCESSES * PROCESS_BYTES), { mode: 0o600 })
  const control = openSync(controlFile, 'r+')
  const slots: (Injected | undefined)[] = Array.from({ length: FAULTS }, () => undefined)
  let serial = 0n

  const readWords = (at: number, count: number): number[] => {
    const bytes = Buffer.alloc(8 * count)
    readSync(control, bytes, 0, bytes.length, at)
    return Array.from({ length: count }, (_, word) => Number(bytes.readBigUInt64LE(8 * word)))
  }
  const writeSerial = (slot: number, value: bigint): void => {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(value)
    writeSync(control, bytes, 0, 8, slot * FAULT_BYTES + FAULT.serial)
  }
  const inject = (fault: Fault): Injected => {
    const slot = slots.indexOf(undefined)
    if (slot < 0) throw new RangeError(`there are ${String(FAULTS)} faults already`)
    let last = 0
    const injected: Injected = {
      get hits() {
        if (slots[slot] === injected) last = readWords(slot * FAULT_BYTES + FAULT.hits, 1)[0] ?? 0
        return last
      },
      remove: () => {
        if (slots[slot] !== injected) return
        writeSerial(slot, 0n)
        last = injected.hits
        slots[slot] = undefined
      },
    }
    slots[slot] = injected
    writeSync(control, encode(fault), 0, FAULT_BYTES, slot * FAULT_BYTES)
    writeSerial(slot, ++serial)
    return injected
  }

  return {
    path,
    environment: { GRIDSEAL_SHIM_MODULE: findSoftHsm(), GRIDSEAL_SHIM_FAULTS: controlFile },
    inject,
    clear: () => slots.forEach((injected) => void injected?.remove()),
    uses: () => {
      const words = readWords(PROCESSES_AT, (PROCESSES * PROCESS_BYTES) / 8)
      return Array.from({ length: PROCESSES }, (_, at) => {
        const [pid = 0, sessions = 0, objects = 0] = words.slice((at * PROCESS_BYTES) / 8)
        return { pid, sessions, objects }
      }).filter(({ pid }) => pid !== 0 && isAlive(pid))
    },
    close: () => {
      closeSync(control)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A fault as the control file holds it; its serial, which makes it count, is written after it. */
function encode({ function: name, action, after = 0, times = 0, pid = 0 }: Fault): Buffer {
  if (Buffer.byteLength(name) > NAME_BYTES) throw new RangeError('no function of PKCS#11 has so long a name')
  const bytes = Buffer.alloc(FAULT_BYTES)
  bytes.write(name, FAULT.function)
  bytes.write(action.kind === 'answer' && action.done === true ? 'do-and-answer' : action.kind, FAULT.action)
  const value = action.kind === 'answer' ? action.value : action.kind === 'slow' ? action.byMs : 0
  for (const [at, word] of [
    [FAULT.value, value],
    [FAULT.after, after],
    [FAULT.times, times],
    [FAULT.pid, pid],
  ] as const) {
    bytes.writeBigUInt64LE(BigInt(word), at)
  }
  return bytes
}

function compile(path: string): void {
  // Beside this file in the sources, and there too when this runs compiled, from dist/pkcs11/testing.
  const beside = new URL('./fault-shim.c', import.meta.url)
  const source = existsSync(beside) ? beside : new URL('../../../pkcs11/testing/fault-shim.c', import.meta.url)
  const options = ['-std=gnu11', '-shared', '-fPIC', '-O1', '-Wall', '-Wextra', '-Werror', '-pthread', '-o', path, fileURLToPath(source), '-ldl']
  const { status, stderr, error } = spawnSync('cc', options, { encoding: 'utf8' })
  if (error !== undefined)
    throw new Error('a C compiler (cc) is needed for the module that fails as it is told (Debian: apt install gcc libc6-dev)', { cause: error })
  if (status !== 0) throw new Error(`cc cannot compile ${fileURLToPath(source)}:\n${stderr}`)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
