import { describe, expect, it } from 'vitest'
import { parseReceiver, parseReceivers } from './receiver.ts'

describe('a receiver', () => {
  it.each([
    [
      'syslog+tls://siem.grid.example?ca=/etc/ca.pem',
      { name: 'siem.grid.example:6514', host: 'siem.grid.example', port: 6514, serverName: 'siem.grid.example' },
    ],
    ['syslog+tls://[2001:db8::1]:7000/?ca=/c&server-name=siem', { name: '2001-db8--1:7000', host: '2001:db8::1', port: 7000, serverName: 'siem' }],
    ['syslog+tls://10.0.0.1?ca=/c&name=north&certificate=/a&key=/b%20c', { name: 'north', host: '10.0.0.1', certificateFile: '/a', keyFile: '/b c' }],
  ])('is read from %s', (text, expected) => {
    expect(parseReceiver(text)).toMatchObject(expected)
  })

  it.each([
    ['', 'not of the form'],
    ['syslog://siem?ca=/c', 'not of the form'],
    ['https://siem?ca=/c', 'not of the form'],
    ['syslog+tls://?ca=/c', 'not of the form'],
    ['syslog+tls://siem', 'ca is missing'],
    ['syslog+tls://siem?ca=', 'not empty'],
    ['syslog+tls://siem?ca=/c&ca=/d', 'once'],
    ['syslog+tls://siem?ca=/c&verify=no', 'once'],
    ['syslog+tls://u:secret@siem?ca=/c', 'nothing else'],
    ['syslog+tls://siem/path?ca=/c', 'nothing else'],
    ['syslog+tls://siem?ca=/c&key=/k', 'belong together'],
    ['syslog+tls://siem?ca=/c&name=a%20b', 'a name has'],
    ['syslog+tls://siem:99999?ca=/c', 'not of the form'],
  ])('is refused: %s', (text, reason) => {
    expect(() => parseReceiver(text)).toThrow(reason)
    expect(() => parseReceiver(text)).not.toThrow('secret')
  })

  it('has a name of its own', () => {
    expect(() => parseReceivers(['syslog+tls://a?ca=/c&name=n', 'syslog+tls://b?ca=/c&name=n'])).toThrow('one name')
    expect(parseReceivers([])).toEqual([])
  })
})
