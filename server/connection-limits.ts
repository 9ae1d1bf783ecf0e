import type { RequestListener, Server } from 'node:http'
import type { Duplex } from 'node:stream'

export interface ConnectionLimits {
  /** Connections at once; what comes beyond is closed as it comes, and who has one keeps it. Default 4,000: over TLS an idle one takes some 50 KB, and one that asks for all it may and reads nothing 0.8 MB. */
  readonly most?: number
  /** A connection on which nothing moves in either direction for so long is cut. Default 300,000: no operation is silent for as long. */
  readonly stillMs?: number
  /** Requests of one connection that may wait for their answers. Default 32. */
  readonly sideBySide?: number
}

/**
 * Keeps who has no certificate yet from using up the memory of the service: by connections, by answers that nobody reads, and by requests sent side by side, each of
 * which is begun as soon as it is read (RFC 9112 9.3.2 lets a server close a connection at any time). Answers with these limits what `answer` answers.
 */
export function limitConnections(server: Server, answer: RequestListener, { most = 4_000, stillMs = 300_000, sideBySide = 32 }: ConnectionLimits = {}): void {
  server.maxConnections = most
  server.timeout = stillMs
  const waiting = new WeakMap<Duplex, number>()
  server.on('request', (request, response) => {
    const { socket } = request
    const others = waiting.get(socket) ?? 0
    // What came in one piece with it is still read: nothing of that is begun either.
    if (others >= sideBySide || socket.destroyed) return void socket.destroy()
    waiting.set(socket, others + 1)
    response.once('close', () => void waiting.set(socket, (waiting.get(socket) ?? 1) - 1))
    return void answer(request, response)
  })
}
