import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { makePki } from '../policies/audit/forwarding/testing/syslog-receiver.ts'
import { ApiClient } from './api.ts'

const folder = mkdtempSync(join(tmpdir(), 'gridseal-api-'))
let server: Server
let client: ApiClient
let sent = 0

/** Answers without an end. */
beforeAll(async () => {
  const { ca, certificate, key } = makePki(folder, 'api', { name: 'localhost' })
  server = createServer({ cert: readFileSync(certificate), key: readFileSync(key), minVersion: 'TLSv1.3' }, (request, response) => {
    if (request.url === '/short') {
      response.end('12345')
      return
    }
    const chunk = Buffer.alloc(65_536)
    const more = (): void => {
      while (!response.destroyed && response.write(chunk)) sent += chunk.length
    }
    response.on('drain', more)
    more()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  client = new ApiClient({ url: `https://localhost:${String((server.address() as AddressInfo).port)}`, trust: readFileSync(ca, 'utf8') })
})
afterAll(async () => {
  client.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  rmSync(folder, { recursive: true })
})

it('an answer that does not end is cut off where it is longer than it may be', async () => {
  await expect(client.download('/endless', { most: 1_000_000 })).rejects.toThrow('more than 1000000 bytes')
  expect(sent).toBeLessThan(50_000_000)
})

it('an answer that is as long as it may be is taken', async () => {
  expect((await client.download('/short', { most: 5 })).toString()).toBe('12345')
  await expect(client.download('/short', { most: 4 })).rejects.toThrow('more than 4 bytes')
})
