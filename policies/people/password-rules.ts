import { COMMON_PASSWORDS } from './common-passwords.ts'

/**
 * What a password has to be. NIST SP 800-63B-4 3.1.1.2: length and a blocklist, no rules of composition, no expiry. There 8 characters are the least beside a second
 * factor and 15 alone; here it is never alone, and 12 are the least.
 */
export const SHORTEST = 12
/** Bounded before it is hashed. */
export const LONGEST = 128

/** Characters are counted as people see them typed: code points of the normal form. */
const lengthOf = (text: string): number => [...text].length

/** NFKC (SP 800-63B-4 3.1.1.2), so that the same password typed on another keyboard has the same bytes. */
export const normalised = (password: string): string => password.normalize('NFKC')

/** Why a password is not taken, for the person; undefined when it is. `names`: of the person and the service, none of which it may hold. Pure. */
export function passwordFault(password: string, names: readonly string[]): string | undefined {
  const text = normalised(password)
  const length = lengthOf(text)
  if (length < SHORTEST) return `It has ${String(length)} characters; at least ${String(SHORTEST)} are needed. A few words that only you put together do well.`
  if (length > LONGEST) return `It has more than ${String(LONGEST)} characters.`
  // biome-ignore lint/suspicious/noControlCharactersInRegex: what no keyboard types, and terminals swallow.
  if (/[\u0000-\u001f\u007f\p{Cs}]/u.test(text)) return 'It has control characters.'
  const plain = text.toLowerCase()
  const name = names.map((one) => one.toLowerCase()).find((one) => one.length >= 3 && plain.includes(one))
  if (name !== undefined) return `It has ${name} in it, which everybody would try.`
  if (isCommon(plain)) return 'It is one of the passwords that many people choose, or little more than one.'
  if (isRepeated(plain)) return 'It repeats a few characters.'
  return isRun(plain) ? 'It follows the alphabet, the digits or the keyboard.' : undefined
}

/** Beyond these many characters around it, a common word is not what makes the password. */
const MOST_AROUND = 8

/** What people write letters as. */
const DISGUISES: Readonly<Record<string, string>> = { '0': 'o', '1': 'l', '3': 'e', '4': 'a', '5': 's', '7': 't', '@': 'a', '$': 's', '!': 'i' }

/** The password, its letters without what stands around them, and the same with disguised letters. */
function isCommon(plain: string): boolean {
  if (COMMON_PASSWORDS.has(plain)) return true
  const undisguised = plain.replaceAll(/[013457@$!]/g, (sign) => DISGUISES[sign] ?? sign)
  const cores = [plain, undisguised, trimmed(plain).replaceAll(/[013457@$!]/g, (sign) => DISGUISES[sign] ?? sign)].map(trimmed)
  return cores.some((core) => COMMON_PASSWORDS.has(core) && plain.length - core.length <= MOST_AROUND)
}

const trimmed = (text: string): string => text.replaceAll(/^[^a-z]+|[^a-z]+$/g, '')

/** Few different characters, or a short or common block over and over. */
function isRepeated(plain: string): boolean {
  if (new Set(plain).size < 5) return true
  for (let block = 1; block <= plain.length / 2; block++) {
    const first = plain.slice(0, block)
    if (first.repeat(Math.ceil(plain.length / block)).slice(0, plain.length) !== plain) continue
    return block < 8 || COMMON_PASSWORDS.has(first)
  }
  return false
}

/** Rows of a keyboard, and its columns as fingers go down them. */
const ROWS = ['1234567890', 'qwertyuiop', 'asdfghjkl', 'zxcvbnm', 'azertyuiop', 'qwertzuiop', '1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik', 'abcdefghijklmnopqrstuvwxyz']
const NEIGHBOURS: ReadonlySet<string> = new Set(
  ROWS.flatMap((row) => [...row].flatMap((sign, at) => (at === 0 ? [] : [`${row[at - 1] ?? ''}${sign}`, `${sign}${row[at - 1] ?? ''}`]))),
)

/** Most of its steps go to a neighbour, or stay. */
function isRun(plain: string): boolean {
  let steps = 0
  for (let at = 1; at < plain.length; at++) if (plain[at] === plain[at - 1] || NEIGHBOURS.has(plain.slice(at - 1, at + 1))) steps += 1
  return steps >= (plain.length - 1) * 0.7
}
