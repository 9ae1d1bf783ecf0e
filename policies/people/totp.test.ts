import { describe, expect, it } from 'vitest'
import { LoginCheck } from './login-check.ts'
import { otpRow } from './credentials.ts'
import { PasswordHasher } from './password-hash.ts'
import { testSealer } from '../testing/row-sealer.ts'
import { CHEAP } from './testing/people-house.ts'
import { softwareSecrets } from './testing/software-secrets.ts'
import { base32, codeOf, otpauthUri, stepAt, stepsAt } from './totp.ts'

const SECRET = Buffer.from('12345678901234567890')
const secrets = softwareSecrets(testSealer)
const check = new LoginCheck({ secrets, sealer: testSealer, hasher: new PasswordHasher({ secrets, cost: CHEAP }), random: (n) => new Uint8Array(n) })

/** A record that holds the secret of the RFCs, sealed as in the database. */
async function recordOf(lastStep = -1) {
  const otp = { personId: 'p', state: 'active' as const, wrapped: secrets.wrap(SECRET), lastStep, recovery: [], version: 1 }
  const [mac] = await testSealer.macRows([otpRow(otp)])
  return { otp, sealedOtp: { row: otpRow(otp), mac: mac ?? new Uint8Array() } }
}

describe('one-time codes', () => {
  it('are those of RFC 4226, appendix D', async () => {
    const { sealedOtp } = await recordOf()
    const hmacs = await secrets.otpHmac(sealedOtp, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(hmacs.map((hmac) => codeOf(hmac))).toEqual(['755224', '287082', '359152', '969429', '338314', '254676', '287922', '162583', '399871', '520489'])
  })

  it.each([
    [59, '94287082'],
    [1_111_111_109, '07081804'],
    [1_111_111_111, '14050471'],
    [1_234_567_890, '89005924'],
    [2_000_000_000, '69279037'],
    [20_000_000_000, '65353130'],
  ])('are those of RFC 6238, appendix B, at %d s, and let in then', async (seconds, code) => {
    const at = new Date(seconds * 1000)
    const credentials = await recordOf()
    const [hmac] = await secrets.otpHmac(credentials.sealedOtp, [stepAt(at)])
    expect(codeOf(hmac ?? new Uint8Array(), 8)).toBe(code)
    expect(await check.useCode(credentials, code.slice(2), at)).toMatchObject({ lastStep: stepAt(at), version: 2 })
    expect(await check.useCode(credentials, code.slice(2), new Date(at.getTime() + 30_000)), 'a step late').toMatchObject({ lastStep: stepAt(at) })
    expect(await check.useCode(credentials, code.slice(2), new Date(at.getTime() + 60_000)), 'two steps late').toBe('wrong')
    if (seconds >= 60) expect(await check.useCode(credentials, code.slice(2), new Date(at.getTime() - 30_000)), 'a step early').toBe('wrong')
    expect(await check.useCode(await recordOf(stepAt(at)), code.slice(2), at), 'again').toBe('used')
    expect(await check.useCode(await recordOf(stepAt(at) - 1), code.slice(2), at)).toMatchObject({ lastStep: stepAt(at) })
  })

  it('change at the half minute', () => {
    expect(stepsAt(new Date(59_999))).toEqual([1, 0])
    expect(stepsAt(new Date(60_000))).toEqual([2, 1])
  })

  it('are of a row that is what the service wrote, or none', async () => {
    const { sealedOtp } = await recordOf()
    await expect(secrets.otpHmac({ ...sealedOtp, mac: new Uint8Array(16) }, [1])).rejects.toMatchObject({ code: 'integrity-failed' })
  })
})

describe('the secret', () => {
  it.each([
    ['', ''],
    ['f', 'MY'],
    ['fo', 'MZXQ'],
    ['foo', 'MZXW6'],
    ['foob', 'MZXW6YQ'],
    ['fooba', 'MZXW6YTB'],
    ['foobar', 'MZXW6YTBOI'],
  ])('is base32 as in RFC 4648, section 10: %j', (text, encoded) => {
    expect(base32(Buffer.from(text))).toBe(encoded)
  })

  it('goes to the authenticator as a URI, whatever the name', () => {
    expect(otpauthUri({ issuer: 'Grid & Co', account: 'chen:x', secret: SECRET })).toBe(
      'otpauth://totp/Grid%20%26%20Co:chen%3Ax?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Grid%20%26%20Co&algorithm=SHA1&digits=6&period=30',
    )
  })
})
