import { once } from 'node:events'
import type { Server } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { constants, X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import pino, { type Logger } from 'pino'
import { base64 } from '../core/bytes.ts'
import { newOperationId } from '../core/ids.ts'
import { asProblem, causeOf } from '../core/problem.ts'
import { systemCaller } from '../policies/caller.ts'
import { createApp } from './app.ts'
import { answerUnreadable } from './client-error.ts'
import { type Config, ConfigError } from './config.ts'
import { limitConnections } from './connection-limits.ts'
import { faultsOf } from './crash-at.ts'
import { Identities } from './identity.ts'
import { Metrics } from './metrics.ts'
import { createPlainListener } from './plain-listener.ts'
import { pemBlocks } from './pem.ts'
import { serviceHealth } from './service-health.ts'
import { addServiceMetrics } from './service-metrics.ts'
import { type OpenService, openService } from './service.ts'
import { SessionIdentities } from './session-identity.ts'
import { loadTlsIdentity, type TlsIdentity } from './tls-identity.ts'
import { tlsRenewal } from './tls-renewal.ts'

/** How often the service looks for ceremonies that were held beside it: one that prunes the log waits for its event. */
const CEREMONIES_EVERY_MS = 5000

/** Runs the service until SIGTERM or SIGINT. Prints a line `ready` with both addresses when it answers. */
export async function serve(config: Config): Promise<void> {
  const logger = pino({ level: config.logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime })
  const stop = new AbortController()
  // From the first moment on: one that comes during the start is obeyed once it is done, and in order.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort(signal))
  const service = await openService(config, logger, faultsOf(config))
  try {
    const closeListeners = await listen(config, service, logger)
    if (!stop.signal.aborted) await once(stop.signal, 'abort')
    logger.info({ signal: stop.signal.reason as string }, 'stopping')
    await closeListeners()
  } finally {
    await service.close()
  }
}

async function listen(config: Config, service: OpenService, logger: Logger): Promise<() => Promise<void>> {
  const metrics = new Metrics()
  addServiceMetrics(metrics, service)
  const health = serviceHealth(config, service, logger)
  await health.start()
  await service.audit.start()
  await service.audit.log.append({
    kind: 'event',
    id: newOperationId(),
    operation: 'system.started',
    caller: systemCaller('start'),
    facts: { public: { node: process.version, lanes: config.lanes } },
  })
  const logCeremonies = (): Promise<void> =>
    service.logCeremonies().catch((error: unknown) => logger.warn({ cause: String(error) }, 'ceremonies are put into the log later'))
  await logCeremonies()
  const ceremonies = setInterval(() => void logCeremonies(), CEREMONIES_EVERY_MS).unref()
  for (const job of service.jobs) job.start()
  await service.forwarding.start().catch((error: unknown) => {
    throw new ConfigError(`GRIDSEAL_SYSLOG: ${error instanceof Error ? error.message : String(error)}.`)
  })
  service.alarms.start()

  const loadTls = (): Promise<TlsIdentity> =>
    loadTlsIdentity({
      folder: join(config.data, 'tls'),
      names: config.names,
      nowMs: Date.now(),
      issue: async ({ spki, dnsNames, ipAddresses }) => {
        const issued = await service.performSystem(systemCaller('start'), 'kms.service-certificate.issue', {
          purpose: 'tls-server',
          spki: base64(spki),
          dnsNames,
          ipAddresses,
        })
        return String(issued['certificate'])
      },
    })
  const tls = await loadTls()
  const callersChain = pemBlocks((await service.kms.certificates.chainPem('callers')) ?? '')
  const countEarlyFailure = (source: string, code: string): void => service.audit.earlyFailures.count(source, code)
  const app = createApp({
    operations: service.operations,
    gate: service.gate,
    sessions: new SessionIdentities(service.people),
    identities: new Identities({ find: service.findCaller, issuer: new X509Certificate(callersChain[0] ?? '') }),
    metrics,
    logger,
    keySet: service.attestation.keySet(),
    countEarlyFailure,
    isCutOff: () => service.revisions.keeper.isCutOff,
  })
  const answer = app.callback()
  const secureContext = {
    // With the root above it: Node's TLS server (20) takes no partial chain. Identities looks at the issuer, since the root stands above other CAs too.
    ca: callersChain,
    minVersion: 'TLSv1.2',
    ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384',
    honorCipherOrder: true,
    // No resumption, no renegotiation: each connection shows its certificate, and one.
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  } as const
  const tlsServer = createServer({
    ...tls,
    ...secureContext,
    requestCert: true,
    rejectUnauthorized: false,
    handshakeTimeout: 10_000,
    headersTimeout: 10_000,
    requestTimeout: 120_000,
    keepAliveTimeout: 75_000,
    connectionsCheckingInterval: 1000,
    maxHeaderSize: 16_384,
    // The application refuses a request without one, in its own words.
    requireHostHeader: false,
  })
  limitConnections(tlsServer, (request, response) => void answer(request, response))
  answerUnreadable(tlsServer, countEarlyFailure)
  // An expectation that is not known is passed over (RFC 9110 10.1.1).
  tlsServer.on('checkExpectation', (request, response) => tlsServer.emit('request', request, response))
  const plainServer = createPlainListener({
    metrics,
    authority: (name) => (isAuthority(name) ? service.kms.certificates.chainPem(name) : Promise.resolve(undefined)),
    crl: (name) => (isAuthority(name) ? service.kms.findCrl(name) : Promise.resolve(undefined)),
    keySet: service.attestation.keySet(),
    logKey: service.audit.key.vkey,
    log: service.audit.publicTiles,
    health,
    alarms: () => service.alarms.active,
  })
  const tlsPort = await bind(tlsServer, { port: config.tlsPort, host: config.host, setting: 'GRIDSEAL_TLS_PORT' })
  const plainPort = await bind(plainServer, { port: config.plainPort, host: config.host, setting: 'GRIDSEAL_PLAIN_PORT' }).catch((error: unknown) => {
    tlsServer.close()
    throw error
  })
  const host = config.host.includes(':') ? `[${config.host}]` : config.host
  logger.info({ tls: `https://${host}:${String(tlsPort)}`, plain: `http://${host}:${String(plainPort)}`, data: config.data, pid: process.pid }, 'ready')
  const renewal = tlsRenewal({
    ...{ current: tls, load: loadTls },
    use: (identity) => {
      tlsServer.setSecureContext({ ...identity, ...secureContext })
      logger.info('the TLS listener has a new certificate')
    },
    onFailure: (error) => logger.warn({ cause: causeOf(asProblem(error)) }, 'the certificate of the TLS listener is renewed later'),
  })
  renewal.start()
  return async () => {
    clearInterval(ceremonies)
    await renewal.stop()
    health.stop()
    await Promise.all([shut(tlsServer), shut(plainServer)])
  }
}

const AUTHORITIES = ['root', 'callers', 'cards'] as const
const isAuthority = (name: string): name is (typeof AUTHORITIES)[number] => (AUTHORITIES as readonly string[]).includes(name)

/** Throws a {@link ConfigError} where the address cannot be had. */
async function bind(server: Server, { port, host, setting }: { readonly port: number; readonly host: string; readonly setting: string }): Promise<number> {
  server.listen(port, host)
  await once(server, 'listening').catch((error: NodeJS.ErrnoException) => {
    const why = error.code === 'EADDRINUSE' ? 'another program has it. Stop that one, or choose another port' : error.message
    throw new ConfigError(`${setting}: cannot listen on ${host}:${String(port)}: ${why}.`)
  })
  return (server.address() as AddressInfo).port
}

/** Stops accepting, gives what is under way 10 s, then cuts. */
async function shut(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  server.closeIdleConnections()
  const timer = setTimeout(() => server.closeAllConnections(), 10_000)
  await closed
  clearTimeout(timer)
}
