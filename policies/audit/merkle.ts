import { equalBytes, fromHex, sha256 } from '../../core/bytes.ts'

/** Hashes and proofs of RFC 6962 2.1, over SHA-256. Pure. Sizes and indexes count leaves from 0. */

/** The root of the empty tree: SHA-256 of nothing (RFC 6962 2.1). */
export const EMPTY_ROOT: Uint8Array = fromHex('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')

/** What is hashed is put together here: nothing is allocated for it, and nothing waits between. */
const leafInput = new Uint8Array(1 + 65_535)
const nodeInput = Uint8Array.of(1, ...new Uint8Array(64))

/** SHA-256(00 || entry). */
export function leafHash(entry: Uint8Array): Uint8Array {
  if (entry.length >= leafInput.length) return sha256(Uint8Array.of(0), entry)
  leafInput.set(entry, 1)
  return sha256(leafInput.subarray(0, 1 + entry.length))
}

/** SHA-256(01 || left || right). */
export function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  if (left.length !== 32 || right.length !== 32) return sha256(nodeInput.subarray(0, 1), left, right)
  nodeInput.set(left, 1)
  nodeInput.set(right, 33)
  return sha256(nodeInput)
}

/** The node at `level` (0 = leaves) and `index`: the root of the full subtree over leaves index*2^level up to (index+1)*2^level. */
export type NodeAt = (level: number, index: number) => Uint8Array

/**
 * The right edge of a tree: the roots of the full subtrees that its size is the sum of, largest first. It is all that appending needs.
 * A value: {@link append} makes a new one.
 */
export interface Edge {
  readonly size: number
  readonly nodes: readonly Uint8Array[]
}

export const EMPTY_EDGE: Edge = { size: 0, nodes: [] }

/** Appends leaves by their hashes. `visit` sees every node that becomes full, leaves included, in the order they do. */
export function append(edge: Edge, leaves: readonly Uint8Array[], visit?: (level: number, index: number, node: Uint8Array) => void): Edge {
  const nodes = [...edge.nodes]
  let size = edge.size
  for (const leaf of leaves) {
    let node = leaf
    visit?.(0, size, node)
    let level = 0
    for (let index = size; index % 2 === 1; index = (index - 1) / 2) {
      const left = nodes.pop()
      if (left === undefined) throw new RangeError('the edge is short of a node')
      node = nodeHash(left, node)
      level += 1
      visit?.(level, (index - 1) / 2, node)
    }
    nodes.push(node)
    size += 1
  }
  return { size, nodes }
}

/** The root over an edge. Throws a RangeError when the edge does not have one node for each bit of its size. */
export function rootOf({ size, nodes }: Edge): Uint8Array {
  if (nodes.length !== bitsOf(BigInt(size)).length) throw new RangeError('the edge does not fit its size')
  let root: Uint8Array | undefined
  for (const node of nodes.toReversed()) root = root === undefined ? node : nodeHash(node, root)
  return root ?? EMPTY_ROOT
}

/** MTH of a list of entries (RFC 6962 2.1). */
export const merkleRoot = (entries: readonly Uint8Array[]): Uint8Array => rootOf(append(EMPTY_EDGE, entries.map(leafHash)))

/** The edge of the tree as it was at `size`, from its full nodes. */
export function edgeAt(size: number, nodeAt: NodeAt): Edge {
  const nodes: Uint8Array[] = []
  let start = 0
  for (const level of bitsOf(BigInt(size))) {
    nodes.push(nodeAt(level, start / 2 ** level))
    start += 2 ** level
  }
  return { size, nodes }
}

/** PATH(index, D[size]) of RFC 6962 2.1.1. Throws a RangeError unless 0 <= index < size. */
export function inclusionProof(index: number, size: number, nodeAt: NodeAt): Uint8Array[] {
  if (!(index >= 0 && index < size)) throw new RangeError('the index is outside the tree')
  const path = (at: number, from: number, to: number): Uint8Array[] => {
    if (to - from === 1) return []
    const middle = from + splitOf(to - from)
    return at < middle ? [...path(at, from, middle), rangeRoot(middle, to, nodeAt)] : [...path(at, middle, to), rangeRoot(from, middle, nodeAt)]
  }
  return path(index, 0, size)
}

/** PROOF(from, D[to]) of RFC 6962 2.1.2. Throws a RangeError unless 0 < from <= to: the empty tree proves nothing. */
export function consistencyProof(from: number, to: number, nodeAt: NodeAt): Uint8Array[] {
  if (!(from > 0 && from <= to)) throw new RangeError('there is no proof between these sizes')
  const proof = (size: number, start: number, end: number, known: boolean): Uint8Array[] => {
    if (size === end - start) return known ? [] : [rangeRoot(start, end, nodeAt)]
    const split = splitOf(end - start)
    if (size <= split) return [...proof(size, start, start + split, known), rangeRoot(start + split, end, nodeAt)]
    return [...proof(size - split, start + split, end, false), rangeRoot(start, start + split, nodeAt)]
  }
  return proof(from, 0, to, true)
}

/** Whether `leaf` stands at `index` in the tree of this size and root. Never throws: a proof of a wrong form is `false`. */
export function verifyInclusion(claim: {
  readonly index: number | bigint
  readonly size: number | bigint
  readonly leaf: Uint8Array
  readonly proof: readonly Uint8Array[]
  readonly root: Uint8Array
}): boolean {
  const { leaf, proof, root } = claim
  const index = exact(claim.index)
  const size = exact(claim.size)
  if (index === undefined || size === undefined || index >= size || !allHashes([leaf, root, ...proof])) return false
  const inner = bitLength(index ^ (size - 1n))
  if (proof.length !== inner + onesOf(index >> BigInt(inner))) return false
  const seed = chainInner(leaf, proof.slice(0, inner), index)
  return equalBytes(chainBorder(seed, proof.slice(inner)), root)
}

/** Whether the second tree extends the first. Never throws. Size 0 is never consistent with anything: it must not be asked. */
export function verifyConsistency(claim: {
  readonly from: number | bigint
  readonly to: number | bigint
  readonly fromRoot: Uint8Array
  readonly toRoot: Uint8Array
  readonly proof: readonly Uint8Array[]
}): boolean {
  const { fromRoot, toRoot } = claim
  const from = exact(claim.from)
  const to = exact(claim.to)
  if (from === undefined || to === undefined || from === 0n || from > to || !allHashes([fromRoot, toRoot, ...claim.proof])) return false
  if (from === to) return claim.proof.length === 0 && equalBytes(fromRoot, toRoot)
  const shift = trailingZeros(from)
  const inner = bitLength((from - 1n) ^ (to - 1n)) - shift
  const index = (from - 1n) >> BigInt(shift)
  // When `from` is a power of two its root is the first hash, and is left out of the proof.
  const isPower = from === 1n << BigInt(shift)
  const [seed, ...rest] = isPower ? [fromRoot, ...claim.proof] : claim.proof
  if (seed === undefined || rest.length !== inner + onesOf(index >> BigInt(inner))) return false
  const innerProof = rest.slice(0, inner)
  const border = rest.slice(inner)
  if (!equalBytes(chainBorder(chainInnerRight(seed, innerProof, index), border), fromRoot)) return false
  return equalBytes(chainBorder(chainInner(seed, innerProof, index), border), toRoot)
}

const isRight = (index: bigint, level: number): boolean => ((index >> BigInt(level)) & 1n) === 1n

const chainInner = (seed: Uint8Array, proof: readonly Uint8Array[], index: bigint): Uint8Array =>
  proof.reduce((node, sibling, level) => (isRight(index, level) ? nodeHash(sibling, node) : nodeHash(node, sibling)), seed)

const chainInnerRight = (seed: Uint8Array, proof: readonly Uint8Array[], index: bigint): Uint8Array =>
  proof.reduce((node, sibling, level) => (isRight(index, level) ? nodeHash(sibling, node) : node), seed)

const chainBorder = (seed: Uint8Array, proof: readonly Uint8Array[]): Uint8Array => proof.reduce((node, sibling) => nodeHash(sibling, node), seed)

const allHashes = (hashes: readonly Uint8Array[]): boolean => hashes.every((one) => one.length === 32)

/** A size or index that is a non-negative integer without loss, or undefined. */
const exact = (value: number | bigint): bigint | undefined => {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : undefined
  return value >= 0n ? value : undefined
}

const bitLength = (value: bigint): number => (value === 0n ? 0 : value.toString(2).length)
const onesOf = (value: bigint): number => value.toString(2).replaceAll('0', '').length
const trailingZeros = (value: bigint): number => bitLength(value & -value) - 1

/** The levels of the full subtrees that a size is the sum of, largest first. */
const bitsOf = (size: bigint): number[] => {
  const text = size.toString(2)
  return [...text].flatMap((bit, at) => (bit === '1' ? [text.length - 1 - at] : []))
}

/** The largest power of two smaller than n. */
const splitOf = (n: number): number => 2 ** (bitLength(BigInt(n - 1)) - 1)

/** MTH of leaves from..to, where `from` is aligned as RFC 6962's recursion makes it. */
function rangeRoot(from: number, to: number, nodeAt: NodeAt): Uint8Array {
  const length = to - from
  const level = bitLength(BigInt(length)) - 1
  if (length === 2 ** level) return nodeAt(level, from / length)
  const middle = from + splitOf(length)
  return nodeHash(rangeRoot(from, middle, nodeAt), rangeRoot(middle, to, nodeAt))
}
