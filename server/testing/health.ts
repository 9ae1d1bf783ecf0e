/** What `/readyz` says: its status, and the state of each part; not its alarms, which stay for a while. */
export async function readiness(plainUrl: string): Promise<Readonly<Record<string, unknown>>> {
  const reply = await fetch(`${plainUrl}/readyz`)
  const { alarms: _, ...parts } = (await reply.json()) as Readonly<Record<string, { readonly state: string; readonly since: string }>>
  for (const [part, { since }] of Object.entries(parts)) if (Number.isNaN(Date.parse(since))) throw new Error(`${part} does not say since when`)
  return { status: reply.status, ...Object.fromEntries(Object.entries(parts).map(([part, { state }]) => [part, state])) }
}

export const WELL = { status: 200, database: 'ready', token: 'ready', policy: 'ready', auditLog: 'ready', integrity: 'ready' } as const
