import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type ConnectionLimits, limitConnections } from './connection-limits.ts'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

async function start(answer: RequestListener, limits: ConnectionLimits): Promise<() => Socket> {
  const server = createServer()
  servers.push(server)
  limitConnections(server, answer, limits)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return () => connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => undefined)
}

const GET = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'
const answersIn = (text: string): number => text.split('HTTP/1.1 200').length - 1

describe('requests side by side', () => {
  it('are answered while they are few, however many follow one another', async () => {
    const open = await start((_request, response) => void setTimeout(() => response.end('yes'), 5), { sideBySide: 4 })
    const socket = open()
    let got = ''
    socket.on('data', (chunk: Buffer) => (got += chunk.toString()))
    for (let turn = 1; turn <= 5; turn++) {
      socket.write(GET.repeat(4))
      await expect.poll(() => answersIn(got)).toBe(4 * turn)
    }
    socket.destroy()
  })

  it('beyond that are not begun, and the connection ends', async () => {
    let begun = 0
    const open = await start(() => void begun++, { sideBySide: 4 })
    const socket = open()
    socket.resume().write(GET.repeat(500))
    await once(socket, 'close')
    expect(begun).toBe(4)
  })
})

describe('a connection', () => {
  it('whose answer nobody reads is cut; one that waits for its answer for less is not', async () => {
    const large = Buffer.alloc(64 * 1024 * 1024)
    const cut: unknown[] = []
    const open = await start(
      (request, response) => {
        request.socket.on('close', () => cut.push(request.url))
        if (request.url === '/large') response.end(large)
        else setTimeout(() => response.end('yes'), 200)
      },
      { stillMs: 400 },
    )
    const [deaf, patient] = [open(), open()]
    deaf.pause().write('GET /large HTTP/1.1\r\nHost: x\r\n\r\n')
    patient.write(GET)
    expect(String((await once(patient, 'data'))[0])).toContain('200 OK')
    expect(cut).toEqual([])
    await expect.poll(() => cut, { timeout: 5000 }).toEqual(['/large'])
    deaf.destroy()
    patient.destroy()
  })

  it('beyond the most is closed, and the others stay', async () => {
    const open = await start((_request, response) => response.end('yes'), { most: 2 })
    const sockets = [open(), open()]
    await Promise.all(sockets.map((socket) => once(socket, 'connect')))
    const third = open().resume()
    await once(third, 'close')
    for (const socket of sockets) {
      socket.write(GET)
      expect(String((await once(socket, 'data'))[0])).toContain('200 OK')
      socket.destroy()
    }
  })
})
