import { createPublicKey, type KeyObject, randomBytes, verify } from 'node:crypto'
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
}

/** Signs one message after the other on many connections, and keeps what was answered. */
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
  readonly #agent: Agent
  readonly #publicKey: KeyObject
  readonly #loops: Promise<void>[]
  #stopping = false

  private constructor(settings: SignersSettings, publicKey: KeyObject) {
    const { module, trust, url, connections = 32 } = settings
    this.#settings = settings
    this.#publicKey = publicKey
    this.#agent = agentOf({ url, trust, certificate: module.certificate, key: module.key }, { maxSockets: connections })
    this.#loops = Array.from({ length: connections }, () => this.#loop())
  }

  static async start(settings: SignersSettings): Promise<Signers> {
    const { publicKey } = await settings.module.client.get<{ publicKey: string }>(`/v1/kms/keys/${settings.keyId}`)
    return new Signers(settings, createPublicKey(publicKey))
  }

  /** Of `performance.now()`: when the last answer of success came. */
  get lastAnswerAt(): number {
    return this.#lastAnswerAt
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all(this.#loops)
    this.#agent.destroy()
  }

  async #loop(): Promise<void> {
    const { url, keyId } = this.#settings
    while (!this.#stopping) {
      const message = randomBytes(32)
      try {
        const { status, operationId, body } = await ask(this.#agent, {
          url: `${url}/v1/kms/keys/${keyId}/sign`,
          method: 'POST',
          body: { items: [{ message: message.toString('base64') }] },
        })
        this.#take({ status, operationId, body, message })
        if (status === 200) continue
      } catch {
        this.unanswered += 1
      }
      await sleep(10)
    }
  }

  #take({
    status,
    operationId,
    body,
    message,
  }: {
    readonly status: number
    readonly operationId: string
    readonly body: Buffer
    readonly message: Buffer
  }): void {
    const answer = JSON.parse(body.toString('utf8')) as { readonly type?: string; readonly signatures?: readonly { readonly signature: string }[] }
    if (status !== 200) {
      const code = `${String(status)} ${String(answer.type).replace('/problems/', '')}`
      this.problems.set(code, (this.problems.get(code) ?? 0) + 1)
      return
    }
    const signature = Buffer.from(answer.signatures?.[0]?.signature ?? '', 'base64')
    if (!verify('sha256', message, { key: this.#publicKey, dsaEncoding: 'ieee-p1363' }, signature))
      this.faults.push(`a wrong signature, operation ${operationId}`)
    if (operationId === '') this.faults.push('an answer without an operation id')
    this.acknowledged.push(operationId)
    this.#lastAnswerAt = performance.now()
  }
}
