import type { CardKeyPlan } from '../pkcs11/index.ts'

/**
 * The derivation types `t` of KDF3 (GlobalPlatform's key diversification by SP 800-108 in counter mode with CMAC): one table for all profiles.
 * 1 to 3 are GlobalPlatform's; ours begin at 0x41. INVARIANT: a type is never given twice: two purposes with one type would have one key.
 */
export const DERIVATION_TYPES = { 'gp-enc': 0x01, 'gp-mac': 0x02, 'gp-dek': 0x03, 'auth': 0x41 } as const

/** A key of a card, with the version number under which the card holds it. */
export interface ProfileKey extends CardKeyPlan {
  /** 1 to 255. GlobalPlatform's initial key set is 0x30 (GPC Amendment D 7.1.3 keeps 0x30 to 0x3F for SCP03). */
  readonly keyVersion: number
}

/** What the cards of an order are filled with. */
export interface CardProfile {
  readonly id: ProfileId
  readonly title: string
  /** INVARIANT: one key is random, the Ki: the card's row keeps it. At most one is a key pair: its public part gets a certificate of the cards' CA. */
  readonly keys: readonly ProfileKey[]
}

/** Whether cards of the profile have certificates. */
export const hasCertificates = (profile: CardProfile): boolean => profile.keys.some(({ source }) => source.kind === 'ec-p256')

const derived = (purpose: keyof typeof DERIVATION_TYPES, keyVersion: number, kcv: 'aes-gp' | 'aes-cmac'): ProfileKey => ({
  purpose,
  keyVersion,
  source: { kind: 'derived', type: DERIVATION_TYPES[purpose] },
  kcv,
})

export type ProfileId = 'grid-usim-1'

export const PROFILES: Readonly<Record<ProfileId, CardProfile>> = {
  'grid-usim-1': {
    id: 'grid-usim-1',
    title: 'USIM of a power-grid terminal: Milenage, SCP03, card authentication, and a signing key with its certificate',
    keys: [
      { purpose: 'ki', keyVersion: 1, source: { kind: 'random' }, kcv: 'aes-cmac' },
      { purpose: 'opc', keyVersion: 1, source: { kind: 'opc', of: 'ki' }, kcv: 'aes-cmac' },
      derived('gp-enc', 0x30, 'aes-gp'),
      derived('gp-mac', 0x30, 'aes-gp'),
      derived('gp-dek', 0x30, 'aes-gp'),
      derived('auth', 1, 'aes-cmac'),
      { purpose: 'sign', keyVersion: 1, source: { kind: 'ec-p256' }, kcv: 'spki-sha256' },
    ],
  },
}

/** The profile of that name, or undefined. */
export const findProfile = (id: string): CardProfile | undefined => (Object.hasOwn(PROFILES, id) ? PROFILES[id as ProfileId] : undefined)

/** The plan as the HSM takes it. */
export const planOf = (profile: CardProfile): readonly CardKeyPlan[] => profile.keys.map(({ purpose, source, kcv }) => ({ purpose, source, kcv }))
