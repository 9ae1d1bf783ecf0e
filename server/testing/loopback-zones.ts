import { readFileSync } from 'node:fs'
import { projectFile } from '../project-file.ts'

/** Where a caller of each zone but `local` comes from: the shipped policy's networks for documents are loopback ones here. What no network holds is the internet. */
export const FROM = {
  headquarters: '127.0.1.10',
  provinces: '127.0.2.10',
  intranet: '127.0.3.10',
  extranet: '127.0.4.10',
  internet: '127.0.9.9',
} as const
export type FarZone = keyof typeof FROM
export const FAR_ZONES = Object.keys(FROM) as readonly FarZone[]

const NETWORKS: readonly (readonly [shipped: string, here: string])[] = [
  ['127.0.0.0/8', '127.0.0.0/24'],
  ['192.0.2.0/25', '127.0.1.0/24'],
  ['192.0.2.128/25', '127.0.2.0/24'],
  ['198.51.100.0/24', '127.0.3.0/24'],
  ['203.0.113.0/24', '127.0.4.0/24'],
]

/** The shipped policy with its zones brought here and its rules as they are; without its tests, which ask from the networks for documents. */
export function policyHere(): string {
  const [rules = ''] = readFileSync(projectFile('examples/policy.yaml'), 'utf8').split(/^tests:$/m)
  return NETWORKS.reduce((text, [shipped, here]) => {
    if (text.split(`[${shipped},`).length !== 2) throw new Error(`the shipped policy has not exactly one zone of ${shipped}`)
    return text.replace(`[${shipped},`, `[${here},`)
  }, rules)
}
