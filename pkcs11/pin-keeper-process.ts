import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import type { FromKeeper, ToKeeper } from './pin-keeper.ts'
import type { PinHolder } from './pin.ts'
import { sealPin } from './sealed-pin.ts'

/**
 * Keeps PINs that a person typed, for as long as the service runs: a lane that is replaced needs its PIN again. It reads the terminal itself, so that the process that
 * talks to the network never has a PIN in clear, and gives one only sealed for the process that asks.
 */
const kept = new Map<PinHolder, Buffer>()

const PROMPTS: Readonly<Record<PinHolder, string>> = { user: 'User PIN of the token: ', officer: 'Security officer’s PIN of the token: ' }

const send = (message: FromKeeper): void => void process.send?.(message, () => undefined)

process.on('disconnect', () => process.exit(0))
// A Ctrl-C goes to the whole group; the service still needs it until it has stopped.
process.on('SIGINT', () => undefined)
process.on('SIGTERM', () => undefined)
process.on('message', (message: ToKeeper) => {
  if (message.kind === 'forget') {
    kept.get(message.holder)?.fill(0)
    kept.delete(message.holder)
    return
  }
  void answer(message).then(send, () => send({ id: message.id, kind: 'failed', reason: 'no PIN was typed' }))
})

async function answer(message: Exclude<ToKeeper, { readonly kind: 'forget' }>): Promise<FromKeeper> {
  const { id, holder } = message
  if (message.kind === 'prompt') {
    if (!kept.has(holder)) kept.set(holder, await typed(PROMPTS[holder]))
    return { id, kind: 'prompted' }
  }
  const pin = kept.get(holder)
  return pin === undefined ? { id, kind: 'failed', reason: 'no PIN was typed' } : { id, kind: 'sealed', pin: sealPin(pin, message.publicKey) }
}

/** One line of the terminal, without echo. Rejects at its end, at Ctrl-C, and on an empty line: a token counts wrong PINs. */
async function typed(prompt: string): Promise<Buffer> {
  const lines = createInterface({ input: process.stdin, output: new Writable({ write: (_chunk, _encoding, done) => done() }), terminal: true, historySize: 0 })
  // Only now: what is typed at once must not meet a terminal that still shows it.
  process.stderr.write(prompt)
  try {
    const line = await new Promise<string>((resolve, reject) => {
      lines.once('SIGINT', () => reject(new Error('interrupted')))
      lines.once('close', () => reject(new Error('the terminal was closed')))
      lines.once('line', resolve)
    })
    if (line === '') throw new Error('nothing was typed')
    return Buffer.from(line, 'utf8')
  } finally {
    lines.close()
    process.stdin.unref()
    process.stderr.write('\n')
  }
}
