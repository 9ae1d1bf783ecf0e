/**
 * Published values for the self-test, which runs them through the token. Hexadecimal. None of these keys is used for anything else.
 * - kwp: Wycheproof aes_kwp_test.json (commit dac1dd4), tcId 161 and 167: keys of whole 8-byte blocks, wrapped.
 * - kwpUnwrap: RFC 5649 clause 6, both examples, unwrapped. (SoftHSM 2.6.1 fills a key up to 8 bytes before it wraps, so of keys of other
 *   lengths it gives another, longer value; all keys that we wrap have whole blocks, but for PKCS#8, which its reader forgives.)
 * - cmac: RFC 4493 clause 4, examples 1 to 4 (also NIST SP 800-38B D.1).
 * - kdf3: GlobalPlatformPro, TestPlaintextKeys.java, `kdf3` with the key 4041..4F and its KCVs (AES-ECB of 01*16, first 3 bytes).
 * - hmac: RFC 4231 clause 4.7, test case 6 (SoftHSM takes no key shorter than 32 bytes).
 */
export const KNOWN_ANSWERS = {
  kwp: [
    {
      kek: 'fce0429c610658ef8e7cfb0154c51de2239a8a317f5af5b6714f985fb5c4d75c',
      key: '287326b5ed0078e7ca0164d748f667e7',
      wrapped: 'e3eab96d9a2fda12f9e252053aff15e753e5ea6f5172c92b',
    },
    {
      kek: '38e1b1d075d9d852b9a6c01c8ff6965af01bac457a4e339ae3e1d7b2ffacc0cd',
      key: '80ad6820f1c90981e2ca42b817a345c1179d0a11d8e23a8adc0505e13d87295a',
      wrapped: 'b63b7e0fec7e315816233db6758fd3e744b9f6a40862bdf866487e53bcb950d8b2649269e51b4475',
    },
  ],
  kwpUnwrap: [
    {
      kek: '5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8',
      key: 'c37b7e6492584340bed12207808941155068f738',
      wrapped: '138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a',
    },
    { kek: '5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8', key: '466f7250617369', wrapped: 'afbeb0f07dfbf5419200f2ccb50bb24f' },
  ],
  cmac: {
    key: '2b7e151628aed2a6abf7158809cf4f3c',
    cases: [
      { message: '', mac: 'bb1d6929e95937287fa37d129b756746' },
      { message: '6bc1bee22e409f96e93d7e117393172a', mac: '070a16b46b4d4144f79bdd9dd04a287c' },
      {
        message: '6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411',
        mac: 'dfa66747de9ae63030ca32611497c827',
      },
      {
        message: '6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710',
        mac: '51f0bebf7e3b9d92fc49741779363cfe',
      },
    ],
  },
  kdf3: {
    master: '404142434445464748494a4b4c4d4e4f',
    kdd: '00010203040506070809',
    /** Of the types 1 (ENC), 2 (MAC), 3 (DEK). */
    kcvs: ['e79c05', 'd1bd77', '3fde8c'],
  },
  hmac: {
    key: 'aa'.repeat(131),
    message: '54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579204669727374',
    mac: '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54',
  },
} as const
