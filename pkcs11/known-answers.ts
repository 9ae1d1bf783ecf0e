/**
 * Published values for capabilities.ts, which runs them through the token. Hexadecimal. None of these keys is used for anything else.
 * - kwp: Wycheproof aes_kwp_test.json (commit dac1dd4), tcId 161 and 167: keys of whole 8-byte blocks, wrapped.
 * - kwpUnwrap: RFC 5649 clause 6, both examples, unwrapped. (SoftHSM 2.6.1 fills a key up to 8 bytes before it wraps, so of keys of other
 *   lengths it gives another, longer value; all keys that we wrap have whole blocks, but for PKCS#8, which its reader forgives.)
 * - cmac: RFC 4493 clause 4, examples 1 to 4 (also NIST SP 800-38B D.1).
 * - kdf3: GlobalPlatformPro, TestPlaintextKeys.java, `kdf3` with the key 4041..4F and its KCVs (AES-ECB of 01*16, first 3 bytes).
 * - hmac: RFC 4231 clause 4.7, test case 6 (SoftHSM takes no key shorter than 32 bytes).
 * - hotp: RFC 4226 appendix D: the secret, and the HMAC-SHA-1 of the counts 0 to 9.
 * - aes: FIPS 197 C.1.
 * - milenage: 3GPP TS 35.208 clause 4.3, test set 1; `autn` = SQN xor f5 || AMF || f1 (TS 33.102 6.3.2) of its values.
 * - ecdsa: RFC 6979 A.2.5, P-256 with SHA-256, message "sample": public point (x, y) and signature (r, s).
 * - ed25519: RFC 8032 7.1, test 2.
 * - gcm: test case 16 of the GCM specification (McGrew and Viega, appendix B).
 * - rsa: RFC 9500 2.1, testRSA2048, base64 of its RSAPrivateKey: a key for tests that everybody knows.
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
  hotp: {
    secret: '3132333435363738393031323334353637383930',
    hmacs: [
      'cc93cf18508d94934c64b65d8ba7667fb7cde4b0',
      '75a48a19d4cbe100644e8ac1397eea747a2d33ab',
      '0bacb7fa082fef30782211938bc1c5e70416ff44',
      '66c28227d03a2d5529262ff016a1e6ef76557ece',
      'a904c900a64b35909874b33e61c5938a8e15ed1c',
      'a37e783d7b7233c083d4f62926c7a25f238d0316',
      'bc9cd28561042c83f219324d3c607256c03272ae',
      'a4fb960c0bc06e1eabb804e5b397cdc4b45596fa',
      '1b3c89f65e6c9e883012052823443f048b4332db',
      '1637409809a679dc698207310c8c7fc07290d9e5',
    ],
  },
  aes: { key: '000102030405060708090a0b0c0d0e0f', block: '00112233445566778899aabbccddeeff', encrypted: '69c4e0d86a7b0430d8cdb78070b4c55a' },
  milenage: {
    k: '465b5ce8b199b49faa5f0a2ee238a6bc',
    op: 'cdc202d5123e20f62b6d676ac72cb318',
    opc: 'cd63cb71954a9f4e48a5994e37a02baf',
    rand: '23553cbe9637a89d218ae64dae47bf35',
    sqn: 'ff9bb4d0b607',
    amf: 'b9b9',
    autn: '55f328b43577b9b94a9ffac354dfafb3',
    res: 'a54211d5e3ba50bf',
  },
  ecdsa: {
    point: '60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb67903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299',
    digest: 'af2bdbe1aa9b6ec1e2ade1d694f41fc71a831d0268e9891562113d8a62add1bf',
    signature: 'efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8',
  },
  ed25519: {
    key: '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    message: '72',
    signature: '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  },
  gcm: {
    key: 'feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308',
    iv: 'cafebabefacedbaddecaf888',
    aad: 'feedfacedeadbeeffeedfacedeadbeefabaddad2',
    message: 'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39',
    /** Ciphertext and 16 bytes of tag. */
    sealed:
      '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b',
  },
  rsa: [
    'MIIEowIBAAKCAQEAsPnoGUOnrpiSqt4XynxA+HRP7S+BSObI6qJ7fQAVSPtRkqsotWxQYLEYzNEx5ZSHTGypibVsJylvCfuToDTfMul8b/CZjP2Ob0LdpYrNH6l5hvFE89FU1nZQF15o',
    'VLOpUgA7wGiHuEVawrGfey92UE68mOyUVXGweJIVDdxqdMoPvNNUl86BU02vlBiESxOuox+dWmuVV7vfYZ79Toh/LUK43YvJh+rhv4nKuF7iHjVjBd9sB6iDjj70HFldzOQ9r8SRI+9N',
    'irupPTkF5AKNe6kUhKJ1luB7S27ZkvB3tSTT3P593VVJvnzOjaA1z6Cz+4+eRvcysqhrRgFlwI9TEwIDAQABAoIBAEEYiyDP29vCzx/+dS3LqnI5BjUuJhXUnc6AWX/PCgVAO+8A+gZR',
    'gvct7PtZb0sM6P9ZcLrweomlGezIFrL0/6xQaa8bBr/ve/a8155OgcjFo6fZEw3Dz7ra5fbSiPmu4/b/kvrg+Br1l77Jaun6uUAs1f5B9wW+vbR7tzbT/mxaUeDiBzKpe15GwcvbJtdI',
    'VMa2YErtRjc1/5B2BGVXyvlJv0SIlcIEMsHgnAFOp1ZgQ08aDzvilLq8XVMOahAhP1O2A3X8hKdXPyrxIVWE9bS9ptTo+eF6eNl+d7htpKGEZHUxinoQpWEBTv+iOoHsVunkEJ3vjLP3',
    'lyI/fY0NQ1ECgYEA3RBXAjgvIys2gfU3keImF8e/TprLge1I2vbWmV2j6rZCg5r/AS0upii5CvJ5/T5vfJPNgPBy8B/yRDs+6PJO1GmnlhOkG9JAIPkv0RBZvR0PMBtbp6nTY3yo1lwa',
    'mBVBfY6rc0sLTzosZh2aGoLzrHNMQFMGaauORzBFpY5lU50CgYEAzPHlu5DI6Xgep1vr8QvCUuEesCOgJg8Yh1UqVoY/SmQh6MYAv1I9bLGwrb3WW/7kqIoDfj0aQV5buVZI2loMomtU',
    '9KY5SFIsPV+JuUpy7/+VE01ZQM5FdY8wiYCQiVZYju9XWz5LxMNoz+gT7pwlLCsC4N+R8aoBk404aF1gum8CgYAJ7VTq7Zj4TFV7Soa/T1eEk9y8a+kdoYk3BASpCHJ29M5R2KEA7YV9',
    'wrBklHTz8VzSTFTbKHEQ5W5csAhoL5FoqoHzFFi3Qx7MHESQb9qHyolHEMNx6QdsHUn7rlEnaTTyrXh3ifQtD6C0yTmFXUISCW9wKApOrnyKJ9nI0HcuZQKBgQCMtoV6e9VGX4AEfpuH',
    'vAAnMYQFgeBiYTkBKltQXwozhH63uMMomUmtSG87Sz1TmrXadjAhy8gsG6I0pWaN7QgBuFnzQ/HOkwTm+qKwAsrZt4zeXNwsH7QXHEJCFnCmqw9QzEoZTrNtHJHpNboBuVnYcoueZEJr',
    'P8OnUG3rUjmopwKBgAqB2KYYMUqAOvYcBnEfLDmyZv9BTVNHbR2lKkMYqv5LlvDaBxVfilE02riO4p6BaAdvzXjKeRrGNEKoHNBpOSfYCOM16NjL8hIZB1CaV3WbT5oY+jp7Mzd57d56',
    'RZOE+ERK2uz/7JX9VSsM/LbH9pJibd4e8mikDS9ntciqOH/3',
  ].join(''),
} as const
