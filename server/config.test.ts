import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ConfigError, describeSettings, readConfig } from './config.ts'

describe('settings', () => {
  it('come with defaults, and the data folder is absolute', () => {
    const config = readConfig({})
    expect(config).toMatchObject({ host: '127.0.0.1', tlsPort: 8443, plainPort: 8080, lanes: 1 })
    expect(config.data.startsWith('/')).toBe(true)
    expect(config.policy).toBe(`${config.data}/policy.yaml`)
    expect(Object.isFrozen(config)).toBe(true)
  })

  it('come from the environment', () => {
    expect(readConfig({ GRIDSEAL_TLS_PORT: '0', GRIDSEAL_NAMES: 'a.example,10.0.0.1', GRIDSEAL_LANES: '2' })).toMatchObject({
      tlsPort: 0,
      names: ['a.example', '10.0.0.1'],
      lanes: 2,
    })
  })

  it('names of the listener are host names and addresses, however they are spaced', () => {
    expect(readConfig({ GRIDSEAL_NAMES: 'localhost, Grid.Example,::1' }).names).toEqual(['localhost', 'grid.example', '::1'])
    for (const names of ['*.grid.example', 'a b', 'a,,b', 'grid.example.', 'fe80::1%eth0', 'grid_1', 'https://grid.example'])
      expect(() => readConfig({ GRIDSEAL_NAMES: names }), names).toThrow(/GRIDSEAL_NAMES/)
  })

  it('name every fault at once, and never a value', () => {
    const read = () => readConfig({ GRIDSEAL_TLS_PORT: '99999', DATABASE_URL: 'mysql://user:hunter2@db', GRIDSEAL_INSECURE_TOKEN_IGNORES: 'perhaps' })
    expect(read).toThrow(ConfigError)
    expect(read).toThrow(/GRIDSEAL_TLS_PORT[^]*DATABASE_URL[^]*GRIDSEAL_INSECURE_TOKEN_IGNORES|GRIDSEAL_TLS_PORT[^]*GRIDSEAL_INSECURE_TOKEN_IGNORES/)
    expect(read).not.toThrow('hunter2')
  })

  it.each(['ftp://x', 'http://x/', 'pki.example', 'http://a b', 'http://'])('the base of CRL URLs is not %s', (url) => {
    expect(() => readConfig({ GRIDSEAL_CRL_URL: url })).toThrow(/GRIDSEAL_CRL_URL/)
    expect(readConfig({ GRIDSEAL_CRL_URL: 'http://pki.grid.example:8080/x' }).crlUrl).toBe('http://pki.grid.example:8080/x')
  })

  it.each([
    ['pkcs11:token=a', 'module-path'],
    ['pkcs11:token=a?module-path=/m.so&pin-value=hunter2', 'pin-value is refused'],
    ['token=a', 'begins with'],
  ])('the token is a PKCS#11 URI, and not %s', (uri, fault) => {
    expect(() => readConfig({ GRIDSEAL_TOKEN: uri })).toThrow(new RegExp(`GRIDSEAL_TOKEN: .*${fault}`))
    expect(() => readConfig({ GRIDSEAL_TOKEN: uri })).not.toThrow('hunter2')
  })

  it('of a token: its URI, what its module is handed, and which variables it sees', () => {
    const uri = 'pkcs11:token=a?module-path=/m.so&pin-source=env:PIN'
    expect(
      readConfig({ GRIDSEAL_TOKEN: uri, GRIDSEAL_TOKEN_LIBRARY_PARAMETERS: "configdir='sql:/x'", GRIDSEAL_TOKEN_ENVIRONMENT: 'HSM_CONFIG,HSM_LOG' }),
    ).toMatchObject({ token: uri, tokenLibraryParameters: "configdir='sql:/x'", tokenEnvironment: ['HSM_CONFIG', 'HSM_LOG'] })
    expect(readConfig({})).toMatchObject({ tokenEnvironment: [] })
    expect(() => readConfig({ GRIDSEAL_TOKEN_ENVIRONMENT: 'A=1' })).toThrow('GRIDSEAL_TOKEN_ENVIRONMENT')
  })

  it('receivers of the audit log are read whole, and what is wrong with one is told without it', () => {
    const two = 'syslog+tls://siem?ca=/c&name=a, syslog+tls://siem:7000?ca=/c&name=b'
    expect(readConfig({ GRIDSEAL_SYSLOG: two }).syslog.map(({ name, port }) => [name, port])).toEqual([
      ['a', 6514],
      ['b', 7000],
    ])
    expect(readConfig({}).syslog).toEqual([])
    expect(() => readConfig({ GRIDSEAL_SYSLOG: 'syslog+tls://hunter2' })).toThrow(/GRIDSEAL_SYSLOG: ca is missing/)
    expect(() => readConfig({ GRIDSEAL_SYSLOG: 'syslog+tls://hunter2' })).not.toThrow('hunter2')
  })

  const fromFile = (text: string) => {
    const folder = mkdtempSync(join(tmpdir(), 'gridseal-config-'))
    try {
      writeFileSync(join(folder, 'gridseal.yaml'), text)
      return readConfig({ GRIDSEAL_CONFIG: join(folder, 'gridseal.yaml') })
    } finally {
      rmSync(folder, { recursive: true })
    }
  }

  it('that are empty, in the file or the environment, are not set: nothing is turned off by that', () => {
    const defaults = { integrityHours: 24, personalRetentionDays: 183, tokenHeadSeconds: 60, tlsPort: 8443 }
    expect(fromFile('integrityHours:\npersonalRetentionDays: ~\ntokenHeadSeconds: null\ntlsPort:\n')).toMatchObject(defaults)
    expect(readConfig({ GRIDSEAL_INTEGRITY_HOURS: '', GRIDSEAL_PERSONAL_RETENTION_DAYS: '', GRIDSEAL_TOKEN_HEAD_SECONDS: '' })).toMatchObject(defaults)
  })

  it.each(['false', 'true', '[]', '[5]', '""', '" "', '1.5', '0x10', '-1', 'never'])('a number is not %s', (value) => {
    expect(() => fromFile(`integrityHours: ${value === '0x10' ? '"0x10"' : value}`)).toThrow(/integrityHours/)
    expect(fromFile('integrityHours: "12"').integrityHours).toBe(12)
  })

  it('are all described', () => {
    for (const setting of describeSettings()) expect(setting.about.length).toBeGreaterThan(20)
  })
})
