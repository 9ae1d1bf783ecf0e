import type { Client } from 'pg'
import type { Connect } from '../session.pg.ts'

/** Loses a connection at a statement: before it is sent, or after the server has answered it and before anybody hears of it. */
export interface Breaker {
  readonly connect: Connect
  /** The next statement whose text matches meets this; one time. */
  breakAt(match: RegExp, when: 'before' | 'after'): void
  /** From now on no connection is to be had, until false. */
  refuse(isRefusing: boolean): void
}

export function breaker(connect: Connect): Breaker {
  let armed: { readonly match: RegExp; readonly when: 'before' | 'after' } | undefined
  let isRefusing = false
  const wrap = (client: Client): Client => {
    const query = client.query.bind(client) as (config: unknown) => Promise<unknown>
    const lose = async (): Promise<never> => {
      const { connection } = client as unknown as { connection: { stream: { destroy(): void } } }
      connection.stream.destroy()
      await new Promise((resolve) => setTimeout(resolve, 5))
      throw new Error('Connection terminated unexpectedly')
    }
    const broken = async (config: unknown): Promise<unknown> => {
      const text = typeof config === 'string' ? config : (config as { text: string }).text
      if (armed === undefined || !armed.match.test(text)) return query(config)
      const { when } = armed
      armed = undefined
      if (when === 'after') await query(config)
      return lose()
    }
    return Object.assign(client, { query: broken })
  }
  return {
    connect: async () => {
      if (isRefusing) throw new Error('connection refused by the test')
      return wrap(await connect())
    },
    breakAt: (match, when) => {
      armed = { match, when }
    },
    refuse: (value) => {
      isRefusing = value
    },
  }
}
