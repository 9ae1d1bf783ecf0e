import type { KeyId } from '../core/ids.ts'
import type { Permit } from '../policies/permit.ts'
import type { Hsm, RootKeyId } from './index.ts'

declare const hsm: Hsm
declare const permit: Permit
declare const keyId: KeyId

// @ts-expect-error: no key use without a permit
void hsm.generate(undefined, keyId, 'ec-p256')
// @ts-expect-error: nor with what looks like one
void hsm.generate({ assertAllows: () => undefined }, keyId, 'ec-p256')
// @ts-expect-error: a text is not a KeyId
void hsm.generate(permit, 'key', 'ec-p256')
// @ts-expect-error: not even one that is a root key's
export const named: RootKeyId = 'root:ca-root'
