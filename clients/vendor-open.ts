import { constants, createDecipheriv, createHash, createPrivateKey, privateDecrypt, X509Certificate } from 'node:crypto'
import { DELIVERY_LINE, DELIVERY_MANIFEST, DELIVERY_TYPE, type DeliveryLine, type DeliveryManifest, keysOfLine } from '../card-personalization/delivery.ts'
import { type CardKey, encodeCardKeys, rowMacInput } from '../card-personalization/delivery-row.ts'
import { iccidFault } from '../core/iccid.ts'
import { hex } from '../core/bytes.ts'
import { isValidAt, openSignedDocument, parseCertificate, readCertificate, Refusal } from './signed-document.ts'
import { aesCmacKey, type CmacKey, hasCheckValue } from './cmac.ts'

/** What `card-personalization.transport-key.get` answers, as much of it as opening needs. Byte strings are base64, KCVs hex. */
export interface TransportKeyPackage {
  readonly transportKeyId: string
  readonly encryptedKey: string
  readonly kcv: { readonly method: string; readonly value: string }
  readonly macKeyId: string
  readonly wrappedMacKey: string
  readonly macKcv: { readonly method: string; readonly value: string }
}

export interface DeliveryToOpen {
  /** The file, in pieces of any size. */
  readonly file: AsyncIterable<Uint8Array> | Iterable<Uint8Array>
  readonly transportKey: TransportKeyPackage
  /** The vendor's RSA private key, PEM. */
  readonly privateKey: string
  /** The root certificate that the vendor trusts, PEM or DER; got by another way than the file. */
  readonly trustedRoot: string | Uint8Array
  /** Id of the order that the vendor expects. Without it any of its orders opens. */
  readonly order?: string
  /** Default: now. */
  readonly at?: Date
  /** Given each card whose MAC and keys are right, before the whole file is known to be: nothing may be made of it until the report is good. */
  readonly onCard?: (card: OpenedCard) => void | Promise<void>
}

export interface OpenedKey extends CardKey {
  /** In clear. */
  readonly value: Uint8Array
}
export interface OpenedCard {
  readonly iccid: string
  readonly imsi: string
  readonly keys: readonly OpenedKey[]
  /** X.509, DER, of the card's signing key, where its profile has one. */
  readonly certificate?: Uint8Array
}

export interface DeliveryProblem {
  /** From 1. */
  readonly line: number
  readonly iccid?: string
  readonly message: string
}
export interface DeliveryReport {
  /** Whether everything is right. Only then may cards be made of it. */
  readonly ok: boolean
  /** Absent where line 1 cannot be trusted: nothing behind it was read then. */
  readonly manifest?: DeliveryManifest
  /** Cards and keys that were opened and are right. */
  readonly cards: number
  readonly keys: number
  /** The first {@link MAX_PROBLEMS}. */
  readonly problems: readonly DeliveryProblem[]
  readonly problemCount: number
}

export const MAX_PROBLEMS = 100
const MAX_LINE_BYTES = 256 * 1024

/** Checks and opens a delivery file, one line at a time: signature and chain, transport key, then each row's MAC and keys, at last counts and the SHA-256. */
export async function openDelivery(asked: DeliveryToOpen): Promise<DeliveryReport> {
  const problems: DeliveryProblem[] = []
  let problemCount = 0
  const blame = (problem: DeliveryProblem): void => {
    problemCount++
    if (problems.length < MAX_PROBLEMS) problems.push(problem)
  }
  let opened = { cards: 0, keys: 0 }
  let manifest: DeliveryManifest | undefined
  let number = 0
  try {
    const lines = readLines(asked.file)
    const first = await lines.next()
    number = 1
    if (first.done === true) throw new Refusal('the file is empty')
    manifest = readManifest(first.value.text, asked)
    const keys = await openTransportKey(manifest, asked)
    const file = new CardLines(manifest, keys, checkCardsCa(manifest, asked))
    for await (const { text, bytes } of lines) {
      number++
      opened = await file.read({ text, bytes, number, blame, onCard: asked.onCard })
    }
    file.end((message) => blame({ line: number, message }))
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    blame({ line: number, message: error.message })
  }
  return { ok: problemCount === 0, ...(manifest === undefined ? {} : { manifest }), ...opened, problems, problemCount }
}

interface TransportKeys {
  readonly transport: Uint8Array
  readonly mac: CmacKey
}

/** The lines of the cards, and what they add up to. */
class CardLines {
  readonly #manifest: DeliveryManifest
  readonly #keys: TransportKeys
  readonly #cardsCa: CardsCa | undefined
  readonly #hash = createHash('sha256')
  readonly #iccids = new Set<string>()
  #lines = 0
  #opened = { cards: 0, keys: 0 }
  #first: string | undefined
  #last: string | undefined

  constructor(manifest: DeliveryManifest, keys: TransportKeys, cardsCa: CardsCa | undefined) {
    this.#manifest = manifest
    this.#keys = keys
    this.#cardsCa = cardsCa
  }

  async read({
    text,
    bytes,
    number,
    blame,
    onCard,
  }: {
    text: string
    bytes: Uint8Array
    number: number
    blame: (problem: DeliveryProblem) => void
    onCard: DeliveryToOpen['onCard']
  }): Promise<{
    cards: number
    keys: number
  }> {
    this.#hash.update(bytes)
    this.#lines++
    const line = readLine(text)
    if (line === undefined) {
      blame({ line: number, message: 'this is no line of a card' })
      return this.#opened
    }
    const { iccid } = line
    this.#first ??= iccid
    this.#last = iccid
    const wrong = iccidFault(iccid) ?? (this.#iccids.has(iccid) ? 'this ICCID stands in the file before' : undefined)
    this.#iccids.add(iccid)
    if (wrong !== undefined) blame({ line: number, iccid, message: wrong })

    const keys = keysOfLine(line)
    if (keys.length !== this.#manifest.keysPerCard)
      blame({ line: number, iccid, message: `it has ${keys.length} keys, a card of this delivery has ${this.#manifest.keysPerCard}` })
    const { order: orderId, transportKeyId, profile } = this.#manifest
    const bound = rowMacInput({ orderId, transportKeyId, profile, iccid, imsi: line.imsi }, encodeCardKeys(keys))
    if (!(await this.#keys.mac.verify(bound, Buffer.from(line.mac, 'base64')))) {
      blame({ line: number, iccid, message: 'the MAC of the row is wrong: it was changed, or belongs to another card, order or transport key' })
      return this.#opened
    }
    const opened = await openKeys(keys, this.#keys.transport, (message) => blame({ line: number, iccid, message }))
    const unfit = certificateFault({ line, keys: opened, cardsCa: this.#cardsCa })
    if (unfit !== undefined) blame({ line: number, iccid, message: unfit })
    if (wrong !== undefined || unfit !== undefined || opened.length !== keys.length) return this.#opened
    this.#opened = { cards: this.#opened.cards + 1, keys: this.#opened.keys + opened.length }
    await onCard?.({
      iccid,
      imsi: line.imsi,
      keys: opened,
      ...(line.certificate === undefined ? {} : { certificate: Buffer.from(line.certificate, 'base64') }),
    })
    return this.#opened
  }

  end(blame: (message: string) => void): void {
    const { cards, firstIccid, lastIccid, sha256 } = this.#manifest
    if (this.#lines !== cards) blame(`the manifest names ${cards} cards, the file has ${this.#lines}`)
    if (this.#lines > 0 && (this.#first !== firstIccid || this.#last !== lastIccid)) blame('the first or last ICCID is not the one that the manifest names')
    if (hex(this.#hash.digest()) !== sha256)
      blame('the SHA-256 of the cards’ lines is not the one that was signed: lines were changed, added, left out or moved')
  }
}

interface CardsCa {
  readonly certificate: X509Certificate
  readonly at: Date
}

/** The cards' CA of the manifest. It must be an authority that the trusted root issued. */
function checkCardsCa({ cardsCa }: DeliveryManifest, { trustedRoot, at = new Date() }: DeliveryToOpen): CardsCa | undefined {
  if (cardsCa === undefined) return undefined
  const [certificate, root] = [readCertificate(cardsCa, 'manifest'), new X509Certificate(trustedRoot)]
  if (!certificate.ca || !certificate.checkIssued(root) || !certificate.verify(root.publicKey)) {
    throw new Refusal('the cards’ CA of the manifest was not issued by the trusted root')
  }
  if (!isValidAt(certificate, at)) throw new Refusal(`the certificate of the cards’ CA is not valid at ${at.toISOString()}`)
  return { certificate, at }
}

/** What is wrong with a card's certificate: it must be there where the card has a key pair, be of that key and of that ICCID, and come from the cards' CA. */
function certificateFault({ line, keys, cardsCa }: { line: DeliveryLine; keys: readonly OpenedKey[]; cardsCa: CardsCa | undefined }): string | undefined {
  const pair = keys.find(({ kcv }) => kcv.method === 'spki-sha256')
  if (line.certificate === undefined) return pair === undefined ? undefined : `the key ${pair.purpose} has no certificate`
  const certificate = parseCertificate(line.certificate)
  if (pair === undefined || cardsCa === undefined || certificate === undefined) return 'its certificate cannot be checked'
  if (certificate.ca || !certificate.checkIssued(cardsCa.certificate) || !certificate.verify(cardsCa.certificate.publicKey))
    return 'its certificate was not issued by the cards’ CA'
  if (!certificate.checkPrivateKey(createPrivateKey({ key: Buffer.from(pair.value), format: 'der', type: 'pkcs8' }))) return 'its certificate is of another key'
  if (!certificate.subject.split('\n').includes(`serialNumber=${line.iccid}`)) return 'its certificate is of another card'
  return isValidAt(certificate, cardsCa.at) ? undefined : `its certificate is not valid at ${cardsCa.at.toISOString()}`
}

async function openKeys(keys: readonly CardKey[], transport: Uint8Array, blame: (message: string) => void): Promise<OpenedKey[]> {
  const opened: OpenedKey[] = []
  for (const key of keys) {
    const value = unwrap(transport, key.wrapped)
    if (value === undefined) blame(`the key ${key.purpose} does not unwrap under the transport key`)
    else if (!(await hasCheckValue(value, { method: key.kcv.method, value: hex(key.kcv.value) })))
      blame(`the key ${key.purpose} has another KCV (${key.kcv.method}) than the row says`)
    else opened.push({ ...key, value })
  }
  return opened
}

function readLine(text: string): DeliveryLine | undefined {
  try {
    return DELIVERY_LINE.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}

/** Checks line 1. */
function readManifest(line: string, { trustedRoot, order, at = new Date() }: DeliveryToOpen): DeliveryManifest {
  const manifest = DELIVERY_MANIFEST.safeParse(openSignedDocument(line, { what: 'manifest', type: DELIVERY_TYPE, service: 'delivery', trustedRoot, at })).data
  if (manifest === undefined) throw new Refusal('the manifest is not of this format')
  if (order !== undefined && manifest.order !== order) throw new Refusal(`this is the delivery of another order: ${manifest.order}`)
  return manifest
}

/** Opens the transport key with the vendor's private key, and the MAC key with it, and compares both KCVs. */
async function openTransportKey(manifest: DeliveryManifest, { transportKey, privateKey }: DeliveryToOpen): Promise<TransportKeys> {
  if (transportKey.transportKeyId !== manifest.transportKeyId)
    throw new Refusal(`the delivery is under the transport key ${manifest.transportKeyId}, this is ${transportKey.transportKeyId}`)
  if (transportKey.macKeyId !== manifest.macKeyId) throw new Refusal(`the rows are under the MAC key ${manifest.macKeyId}, this is ${transportKey.macKeyId}`)
  const transport = decrypt(privateKey, Buffer.from(transportKey.encryptedKey, 'base64'))
  if (transport?.length !== 32) throw new Refusal('the transport key does not open with this private key')
  if (!(await hasCheckValue(transport, transportKey.kcv))) throw new Refusal('the transport key has another KCV than its package says')
  const mac = unwrap(transport, Buffer.from(transportKey.wrappedMacKey, 'base64'))
  if (mac === undefined) throw new Refusal('the row-MAC key does not unwrap under the transport key')
  if (!(await hasCheckValue(mac, transportKey.macKcv))) throw new Refusal('the row-MAC key has another KCV than its package says')
  return { transport, mac: await aesCmacKey(mac) }
}

function decrypt(privateKey: string, encrypted: Uint8Array): Uint8Array | undefined {
  try {
    return privateDecrypt({ key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha1' }, encrypted)
  } catch {
    return undefined
  }
}

/** AES-256-KWP (RFC 5649); undefined where it does not unwrap. */
function unwrap(key: Uint8Array, wrapped: Uint8Array): Uint8Array | undefined {
  try {
    const decipher = createDecipheriv('id-aes256-wrap-pad', key, Buffer.from('a65959a6', 'hex'))
    return Buffer.concat([decipher.update(wrapped), decipher.final()])
  } catch {
    return undefined
  }
}

/** The lines with their bytes, ends included. A line that is too long ends the opening. */
async function* readLines(file: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<{ readonly text: string; readonly bytes: Uint8Array }> {
  let held: Buffer[] = []
  let heldBytes = 0
  const take = (): { text: string; bytes: Uint8Array } => {
    const bytes = Buffer.concat(held)
    held = []
    heldBytes = 0
    return { text: bytes.toString('utf8').replace(/\n$/, ''), bytes }
  }
  for await (const piece of file) {
    const buffer = Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
    for (let at = 0; at < buffer.length; ) {
      const newline = buffer.indexOf(10, at)
      const end = newline < 0 ? buffer.length : newline + 1
      held.push(buffer.subarray(at, end))
      heldBytes += end - at
      if (heldBytes > MAX_LINE_BYTES) throw new Refusal(`a line has more than ${MAX_LINE_BYTES} bytes`)
      if (newline >= 0) yield take()
      at = end
    }
  }
  if (heldBytes > 0) yield take()
}
