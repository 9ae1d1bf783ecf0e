import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromBase64, fromHex, hex } from '../../core/bytes.ts'
import {
  append,
  consistencyProof,
  EMPTY_EDGE,
  EMPTY_ROOT,
  edgeAt,
  inclusionProof,
  leafHash,
  type NodeAt,
  merkleRoot,
  rootOf,
  verifyConsistency,
  verifyInclusion,
} from './merkle.ts'
import { nodesOf, type Tile, TileWriter } from './tiles.ts'

/** The eight leaves and roots of the Certificate Transparency test suite (google/certificate-transparency, merkletree tests; Apache-2.0). */
const LEAVES = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map(fromHex)
const ROOTS = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
]

/** A tree held whole: every full node by level and index, and its tiles. */
function build(count: number): { nodeAt: NodeAt; roots: Uint8Array[]; leaves: Uint8Array[]; tiles: Map<string, Uint8Array> } {
  const nodes = new Map<string, Uint8Array>()
  const tiles = new Map<string, Uint8Array>()
  const roots = [EMPTY_ROOT]
  const leaves = Array.from({ length: count }, (_, at) => leafHash(Buffer.from(`entry ${at}`)))
  let edge = EMPTY_EDGE
  let partials: Tile[] = []
  for (let at = 0; at < count; at += 7) {
    const writer = new TileWriter(partials)
    for (const leaf of leaves.slice(at, at + 7)) {
      edge = append(edge, [leaf], (level, index, node) => {
        nodes.set(`${level}/${index}`, node)
        writer.visit(level, index, node)
      })
      roots.push(rootOf(edge))
    }
    const full = writer.takeFull()
    for (const tile of [...full, ...writer.partial()]) tiles.set(`${tile.level}/${tile.index}`, tile.hashes)
    const kept = partials.filter(({ level }) => !full.some((tile) => tile.level === level) && !writer.partial().some((tile) => tile.level === level))
    partials = [...kept, ...writer.partial()]
  }
  const nodeAt: NodeAt = (level, index) => {
    const node = nodes.get(`${level}/${index}`)
    if (node === undefined) throw new Error(`no node ${level}/${index}`)
    return node
  }
  return { nodeAt, roots, leaves, tiles }
}

const tree = build(700)

describe('the tree of RFC 6962', () => {
  it('has the known roots', () => {
    expect(hex(rootOf(EMPTY_EDGE))).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855')
    let edge = EMPTY_EDGE
    LEAVES.forEach((leaf, at) => {
      edge = append(edge, [leafHash(leaf)])
      expect(hex(rootOf(edge))).toBe(ROOTS[at])
      expect(hex(merkleRoot(LEAVES.slice(0, at + 1)))).toBe(ROOTS[at])
    })
  })

  it('is the same appended one by one or all at once, and its edge can be had from its nodes at every size', () => {
    const whole = append(EMPTY_EDGE, tree.leaves)
    expect(rootOf(whole)).toEqual(tree.roots[700])
    for (const size of [0, 1, 2, 3, 255, 256, 257, 511, 512, 699, 700]) expect(rootOf(edgeAt(size, tree.nodeAt))).toEqual(tree.roots[size])
  })

  it('refuses an edge that does not fit its size', () => {
    expect(() => rootOf({ size: 3, nodes: [EMPTY_ROOT] })).toThrow(RangeError)
    expect(() => append({ size: 1, nodes: [] }, [EMPTY_ROOT])).toThrow(RangeError)
  })

  it('proves every inclusion and consistency that it should, and each proof fails for another index, size, root or leaf', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 700 }), fc.nat(699), fc.nat(699), (size, a, b) => {
        const index = a % size
        const root = tree.roots[size] ?? EMPTY_ROOT
        const leaf = tree.leaves[index] ?? EMPTY_ROOT
        const proof = inclusionProof(index, size, tree.nodeAt)
        expect(verifyInclusion({ index, size, leaf, proof, root })).toBe(true)
        expect(verifyInclusion({ index: index + 1, size, leaf, proof, root })).toBe(false)
        expect(verifyInclusion({ index, size, leaf: root, proof: [...proof, leaf], root })).toBe(false)
        expect(verifyInclusion({ index, size, leaf, proof, root: EMPTY_ROOT })).toBe(false)
        const from = (b % size) + 1
        const fromRoot = tree.roots[from] ?? EMPTY_ROOT
        const steps = consistencyProof(from, size, tree.nodeAt)
        expect(verifyConsistency({ from, to: size, fromRoot, toRoot: root, proof: steps })).toBe(true)
        expect(verifyConsistency({ from, to: size, fromRoot: EMPTY_ROOT, toRoot: root, proof: steps })).toBe(false)
        expect(verifyConsistency({ from, to: size, fromRoot, toRoot: EMPTY_ROOT, proof: steps })).toBe(false)
        if (steps.length > 0) expect(verifyConsistency({ from, to: size, fromRoot, toRoot: root, proof: steps.slice(1) })).toBe(false)
      }),
      { numRuns: 150 },
    )
  })

  it('does not take the empty tree, sizes that are no integers, or hashes of a wrong length', () => {
    expect(() => consistencyProof(0, 5, tree.nodeAt)).toThrow(RangeError)
    expect(() => inclusionProof(5, 5, tree.nodeAt)).toThrow(RangeError)
    expect(verifyConsistency({ from: 0, to: 0, fromRoot: EMPTY_ROOT, toRoot: EMPTY_ROOT, proof: [] })).toBe(false)
    expect(verifyConsistency({ from: 0, to: 3, fromRoot: EMPTY_ROOT, toRoot: tree.roots[3] ?? EMPTY_ROOT, proof: [] })).toBe(false)
    expect(verifyInclusion({ index: 0.5, size: 1, leaf: EMPTY_ROOT, proof: [], root: EMPTY_ROOT })).toBe(false)
    expect(verifyInclusion({ index: -1n, size: 1n, leaf: EMPTY_ROOT, proof: [], root: EMPTY_ROOT })).toBe(false)
    expect(verifyInclusion({ index: 0, size: 1, leaf: new Uint8Array(31), proof: [], root: new Uint8Array(31) })).toBe(false)
  })
})

describe('tiles', () => {
  it('hold the nodes of every level, full and partial', () => {
    const nodeAt = nodesOf((level, index) => tree.tiles.get(`${level}/${index}`))
    for (const size of [1, 255, 256, 257, 600, 700]) expect(rootOf(edgeAt(size, nodeAt))).toEqual(tree.roots[size])
    expect(tree.tiles.get('0/1')?.length).toBe(256 * 32)
    expect(tree.tiles.get('0/2')?.length).toBe((700 - 512) * 32)
    expect(tree.tiles.get('1/0')?.length).toBe(2 * 32)
    expect(() => nodeAt(0, 700)).toThrow(RangeError)
  })

  it('refuse a node that does not follow the partial tile they started from', () => {
    const writer = new TileWriter([{ level: 0, index: 0, hashes: new Uint8Array(64) }])
    expect(() => writer.visit(0, 3, EMPTY_ROOT)).toThrow(RangeError)
  })
})

/** transparency-dev/merkle test data; see SOURCE.md there. Integers beyond 2^53 occur, so they are quoted before parsing. */
function vectors(name: string): { file: string; case: Record<string, unknown> }[] {
  const url = new URL(`./testing/vectors/${name}.json`, import.meta.url)
  return JSON.parse(readFileSync(url, 'utf8').replace(/"(leafIdx|treeSize|size1|size2)":\s*(\d+)/g, '"$1":"$2"')) as {
    file: string
    case: Record<string, unknown>
  }[]
}

const bytesOf = (value: unknown): Uint8Array => (typeof value === 'string' ? fromBase64(value) : new Uint8Array())
const proofOf = (value: unknown): Uint8Array[] => (Array.isArray(value) ? value.map(bytesOf) : [])

describe('transparency-dev/merkle vectors', () => {
  it('inclusion: all 53', () => {
    const cases = vectors('inclusion')
    expect(cases).toHaveLength(53)
    for (const { file, case: one } of cases) {
      const { leafIdx, treeSize, leafHash: leaf, root, proof, wantErr } = one
      const claim = { index: BigInt(String(leafIdx)), size: BigInt(String(treeSize)), leaf: bytesOf(leaf), root: bytesOf(root), proof: proofOf(proof) }
      expect(verifyInclusion(claim), file).toBe(wantErr === false)
    }
  })

  it('consistency: all 43', () => {
    const cases = vectors('consistency')
    expect(cases).toHaveLength(43)
    for (const { file, case: one } of cases) {
      const { size1, size2, root1, root2, proof, wantErr } = one
      const claim = { from: BigInt(String(size1)), to: BigInt(String(size2)), fromRoot: bytesOf(root1), toRoot: bytesOf(root2), proof: proofOf(proof) }
      expect(verifyConsistency(claim), file).toBe(wantErr === false)
    }
  })
})
