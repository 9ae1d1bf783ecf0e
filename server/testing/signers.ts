import { createPublicKey, type KeyObject, randomBytes, randomUUID, verify } from 'node:crypto'
import type { Agent } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Participant } from '../../clients/site.ts'
import { agentOf, ask } from './ask.ts'

export interface SignersSettings {
  readonly module: Participant
  readonly url: string
  readonly trust: string
  /** An ec-p256 key of the module. */
  readonly keyId: string
  /** Default 32. */
  readonly connections?: number
  /** How many of them make keys in place of signatures: durable operations, with an intent each. Default none. */
  readonly makers?: number
}

/** Signs one message after the other on many connections, or makes keys, and keeps what was answered. */
export class Signers {
  /** Operation ids of the answers of success, each with a signature that verified. */
  readonly acknowledged: string[] = []
  /** How often each problem was answered, by code. */
  readonly problems = new Map<string, number>()
  /** What should not be: statuses without a problem, signatures that are wrong. */
  readonly faults: string[] = []
  /** Requests that had no whole answer. */
  unanswered = 0
  #lastAnswerAt = performance.now()
  readonly #settings: SignersSettings
  #url: string
  readonly #agent: Agent
  readonly #publicKey: KeyObject
  readonly #loops: Promise<void>[]
  #stopping = false

  private constructor(settings: SignersSettings, publicKey: KeyObject) {
    const { module, trust, url, connections = 32, makers = 0 } = settings
    this.#settings = settings
    this.#url = url
    this.#publicKey = publicKey
    this.#agent = agentOf({ url, trust, certificate: module.certificate, key: module.key }, { maxSockets: connections })
    this.#loops = Array.from({ length: connections }, (_, at) => this.#loop(at < makers ? () => this.#make() : () => this.#sign()))
  }

  static async start(settings: SignersSettings): Promise<Signers> {
    const { publicKey } = await settings.module.client.get<{ publicKey: string }>(`/v1/kms/keys/${settings.keyId}`)
    return new Signers(settings, createPublicKey(publicKey))
  }

  /** Of `performance.now()`: when the last answer of success came. */
  get lastAnswerAt(): number {
    return this.#lastAnswerAt
  }

  /** The service is elsewhere from now on. */
  moveTo(url: string): void {
    this.#url = url
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#loops)
    this.#agent.destroy()
  }

  async #loop(work: () => Promise<boolean>): Promise<void> {
    while (!this.#stopping) {
      const succeeded = await work().catch(() => {
        this.unanswered += 1
        return false
      })
      if (!succeeded) await sleep(10)
    }
  }

  async #sign(): Promise<boolean> {
    const message = randomBytes(32)
    const answer = await this.#post(`/v1/kms/keys/${this.#settings.keyId}/sign`, { items: [{ message: message.toString('base64') }] })
    if (answer === undefined) return false
    const { signatures } = answer.body as { readonly signatures?: readonly { readonly signature: string }[] }
    const signature = Buffer.from(signatures?.[0]?.signature ?? '', 'base64')
    if (!verify('sha256', message, { key: this.#publicKey, dsaEncoding: 'ieee-p1363' }, signature))
      this.faults.push(`a wrong signature, operation ${answer.operationId}`)
    return true
  }

  async #make(): Promise<boolean> {
    const answer = await this.#post('/v1/kms/keys', { label: randomUUID(), algorithm: 'hmac-sha256' })
    if (answer === undefined) return false
    const { keyId } = answer.body as { readonly keyId?: string }
    if (keyId === undefined) this.faults.push(`an answer without a key, operation ${answer.operationId}`)
    return true
  }

  /** Undefined for a problem, which is counted. */
  async #post(path: string, sent: object): Promise<{ readonly operationId: string; readonly body: unknown } | undefined> {
    const { status, operationId, body } = await ask(this.#agent, { url: this.#url + path, method: 'POST', body: sent })
    const answer = JSON.parse(body.toString('utf8')) as { readonly type?: string }
    if (status >= 300) {
      const code = `${String(status)} ${String(answer.type).replace('/problems/', '')}`
      this.problems.set(code, (this.problems.get(code) ?? 0) + 1)
      return undefined
    }
    if (operationId === '') this.faults.push('an answer without an operation id')
    this.acknowledged.push(operationId)
    this.#lastAnswerAt = performance.now()
    return { operationId, body: answer }
  }
}
