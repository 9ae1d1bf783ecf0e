import { isIP } from 'node:net'

/** Of RFC 1123, in lower case: no wildcards, no trailing dot. */
export const isHostName = (text: string): boolean => /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/.test(text)

/** An IP address without a zone index. */
export const isAddress = (text: string): boolean => isIP(text) !== 0 && !text.includes('%')
