import { Pin, type PinHolder, promptedHolder } from './pin.ts'
import { PinRecipient, type SealedPin } from './sealed-pin.ts'

/** What a child asks for, and what it gets, beside its other messages. */
export interface PinAsked {
  readonly kind: 'pin'
  readonly holder: PinHolder
  readonly publicKey: Uint8Array
}
export interface PinGiven {
  readonly kind: 'pin'
  readonly pin: SealedPin
}

export const isPinAsked = (message: unknown): message is PinAsked =>
  typeof message === 'object' && message !== null && 'kind' in message && message.kind === 'pin'

/** Runs the work with settings in which every source that is typed is the PIN itself; its bytes are wiped afterwards. Of this process's parent, through its channel. */
export async function withTypedPins<Settings extends object, Result>(settings: Settings, work: (settings: Settings) => Result): Promise<Result> {
  const typed: Buffer[] = []
  const resolved: Record<string, unknown> = Object.fromEntries(Object.entries(settings))
  try {
    for (const [name, source] of Object.entries(resolved)) {
      const holder = promptedHolder(source)
      if (holder === undefined) continue
      const bytes = await askParent(holder)
      typed.push(bytes)
      resolved[name] = new Pin(bytes)
    }
    return work(resolved as Settings)
  } finally {
    for (const bytes of typed) bytes.fill(0)
  }
}

async function askParent(holder: PinHolder): Promise<Buffer> {
  const recipient = new PinRecipient()
  const given = new Promise<SealedPin>((resolve) => {
    const take = (message: PinGiven): void => {
      if (message.kind !== 'pin') return
      process.off('message', take)
      resolve(message.pin)
    }
    process.on('message', take)
  })
  process.send?.({ kind: 'pin', holder, publicKey: recipient.publicKey } satisfies PinAsked, () => undefined)
  return recipient.open(await given)
}
