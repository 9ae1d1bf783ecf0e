import { CAPABILITIES, CAPABILITY_NAMES, tryCapability } from './capabilities.ts'
import { CKK, CKM } from './mechanisms.ts'
import { PROBE_NAMES, type ProbeName } from './probe-names.ts'
import { CKA, CKO, type KeySpec } from './templates.ts'
import type { Token } from './token.ts'
import { Trial } from './trial.ts'

/** The token does what it must not, or computes what it should not. The service does not start on it. */
export class SelfTestError extends Error {
  override readonly name = 'SelfTestError'
}

interface Probe {
  /** What the token must refuse. */
  readonly refuses: string
  /** What follows where it does not. */
  readonly otherwise: string
  /** The same act twice, which differs in the one flag that is probed: the first must work, the second be refused. */
  readonly acts: (trial: Trial) => { readonly allowed: () => void; readonly forbidden: () => void }
}

const AES = { class: CKO.SECRET, keyType: CKK.AES } as const satisfies Partial<KeySpec>
const VALUE = '00112233445566778899aabbccddeeff'

/** What a token must refuse: the one table. */
export const PROBES: Readonly<Record<ProbeName, Probe>> = {
  'not-extractable': {
    refuses: 'wrapping a key whose EXTRACTABLE is false',
    otherwise: 'who gets into a lane can take root keys and card masters away',
    acts: (trial) => {
      const [may, mustNot] = [true, false].map((extractable) => trial.generate({ ...AES, uses: ['encrypt'], mechanisms: [CKM.AES_ECB], extractable }, 16))
      return pair(wrapUnderAny(trial), may, mustNot)
    },
  },
  'allowed-mechanisms': {
    refuses: 'a mechanism that is not among the key’s ALLOWED_MECHANISMS',
    otherwise: 'a key made for one thing does others: a card master prints card keys',
    acts: (trial) => {
      const [may, mustNot] = [CKM.AES_CMAC, CKM.AES_ECB].map((mechanism) => trial.generate({ ...AES, uses: ['encrypt', 'sign'], mechanisms: [mechanism] }, 16))
      return pair((key) => trial.token.cmac(key, Buffer.alloc(16)), may, mustNot)
    },
  },
  'wrap-with-trusted': {
    refuses: 'wrapping a key with WRAP_WITH_TRUSTED under a key that is not TRUSTED',
    otherwise: 'who gets into a lane can wrap any key under a key that they know',
    acts: (trial) => {
      const [may, mustNot] = [false, true].map((wrapWithTrusted) =>
        trial.generate({ ...AES, uses: ['encrypt'], mechanisms: [CKM.AES_ECB], extractable: true, wrapWithTrusted }, 16),
      )
      return pair(wrapUnderAny(trial), may, mustNot)
    },
  },
  'sensitive': {
    refuses: 'reading the value of a key whose SENSITIVE is true',
    otherwise: 'who gets into a lane reads every key',
    acts: (trial) => {
      const [may, mustNot] = [true, false].map((insecureReadable) =>
        trial.known(VALUE, { ...AES, uses: ['encrypt'], mechanisms: [CKM.AES_ECB], extractable: true, insecureReadable }),
      )
      return pair((key) => trial.token.read(key, CKA.VALUE), may, mustNot)
    },
  },
}

const pair = <Key>(act: (key: Key) => unknown, may: Key | undefined, mustNot: Key | undefined): ReturnType<Probe['acts']> => ({
  allowed: () => void act(may as Key),
  forbidden: () => void act(mustNot as Key),
})

/** Wraps under a key of the user's, which is not TRUSTED. */
function wrapUnderAny(trial: Trial): (key: Parameters<Token['wrap']>[1]) => unknown {
  const wrapping = trial.generate({ ...AES, uses: ['wrap'], mechanisms: [trial.token.kwp] }, 32)
  return (key) => trial.token.wrap(wrapping, key)
}

/** `reason`: what is allowed did not work either, so that a refusal says nothing. */
export type ProbeOutcome = { readonly enforced: true } | { readonly enforced: false; readonly reason?: string }

/** The refusal counts only between two times that the allowed act works: a token that fails refuses everything. */
export function tryProbe(token: Token, name: ProbeName): ProbeOutcome {
  let refused = false
  const outcome = Trial.run(token, (trial) => {
    const { allowed, forbidden } = PROBES[name].acts(trial)
    allowed()
    refused = trial.refuses(forbidden)
    allowed()
  })
  if (outcome.does !== 'works') return { enforced: false, reason: outcome.reason }
  return { enforced: refused }
}

/**
 * Behaviour and published values, through the token, with throw-away keys. Throws a {@link SelfTestError} that names all that is wrong;
 * answers the probes that failed and were told to be ignored. What the token has not, and the service can do without, is not wrong: it is refused when it is asked for.
 */
export function selfTest(token: Token, ignore: readonly ProbeName[]): ProbeName[] {
  const open = PROBE_NAMES.map((name) => ({ name, outcome: tryProbe(token, name) })).filter(({ outcome }) => !outcome.enforced)
  const serious = open.filter(({ name }) => !ignore.includes(name))
  const names = serious.map(({ name, outcome }) =>
    !outcome.enforced && outcome.reason !== undefined ? `${name} (could not be probed: ${outcome.reason})` : name,
  )
  const faults = names.length === 0 ? [] : [`the token does not enforce ${names.join(', ')}`]
  for (const name of CAPABILITY_NAMES) {
    const outcome = tryCapability(token, name)
    if (outcome === undefined || outcome.does === 'works') continue
    const { title, need } = CAPABILITIES[name]
    if (outcome.does === 'wrong' || need === 'start') faults.push(`${title}: ${outcome.reason}`)
  }
  if (faults.length > 0) throw new SelfTestError(`${faults.join('; ')}; gridseal token check tells more`)
  return open.map(({ name }) => name)
}
