import { FIELD_NAMES, isFieldName, PATTERN_FIELDS } from './field.ts'
import type { Condition, Query } from './query.ts'
import { QueryError } from './query.ts'

/**
 * Queries as text, for command lines and for the log:
 *
 *     query      = and *( "OR" and )
 *     and        = not *( ["AND"] not )
 *     not        = ["NOT"] ( "(" query ")" / condition )
 *     condition  = name ":" value *( "," value )
 *     value      = bare / quoted            ; bare: no white space, comma, bracket or quote
 *     quoted     = DQUOTE *( any / "\" any ) DQUOTE
 *
 * Names are those of the fields, and `person`, `id`, `since`, `until`. In a bare value of a field that takes patterns `*` and `?` stand for characters; quoted ones are exact.
 * Personal values have no textual form but the hidden one that {@link formatQuery} writes: command lines and logs are read by others.
 */

/** What is wrong with a text, and where: columns count from 1, in UTF-16 units. */
export class QueryTextError extends QueryError {
  readonly column: number

  constructor(message: string, column: number) {
    super(`column ${column}: ${message}`)
    this.column = column
  }
}

interface Token {
  readonly kind: 'word' | 'quoted' | ':' | ',' | '(' | ')' | 'end'
  readonly text: string
  readonly column: number
}

export function parseQuery(text: string): Query {
  return new Parser(tokensOf(text)).whole()
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = []
  // Of a word the first colon ends a name: URNs, addresses and times have more.
  let inValue = false
  for (let at = 0; at < text.length; ) {
    const column = at + 1
    const character = text[at] as string
    if (/\s/.test(character)) {
      at += 1
      inValue = false
    } else if (character === '(' || character === ')' || character === ',' || (character === ':' && !inValue)) {
      tokens.push({ kind: character, text: character, column })
      inValue = character === ':' || character === ','
      at += 1
    } else if (character === '"') {
      const quoted = /^"((?:[^"\\]|\\.)*)"/su.exec(text.slice(at))
      if (quoted === null) throw new QueryTextError('the quoted value has no end', column)
      tokens.push({ kind: 'quoted', text: (quoted[1] ?? '').replaceAll(/\\(.)/gsu, '$1'), column })
      at += quoted[0].length
    } else {
      const word = (inValue ? /^[^\s,()"]+/u : /^[^\s:,()"]+/u).exec(text.slice(at))?.[0] ?? character
      tokens.push({ kind: 'word', text: word, column })
      at += word.length
    }
  }
  return [...tokens, { kind: 'end', text: 'the end', column: text.length + 1 }]
}

/** How deep brackets may be: what is deeper is refused before the stack is. */
const MOST_BRACKETS = 32

class Parser {
  readonly #tokens: readonly Token[]
  #at = 0
  #open = 0

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  whole(): Query {
    const query = this.#or()
    const rest = this.#peek()
    if (rest.kind !== 'end') throw new QueryTextError(`${rest.text} is not expected here`, rest.column)
    return query
  }

  #or(): Query {
    const parts = [this.#and()]
    while (this.#takeWord('OR')) parts.push(this.#and())
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : { or: parts }
  }

  #and(): Query {
    const parts = [this.#not()]
    for (;;) {
      const isSaid = this.#takeWord('AND')
      const { kind, text } = this.#peek()
      if (!isSaid && (kind === 'end' || kind === ')' || (kind === 'word' && text === 'OR'))) break
      parts.push(this.#not())
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : { and: parts }
  }

  #not(): Query {
    if (this.#takeWord('NOT')) return { not: this.#one() }
    return this.#one()
  }

  #one(): Query {
    const token = this.#next()
    if (token.kind === '(') {
      this.#open += 1
      if (this.#open > MOST_BRACKETS) throw new QueryTextError('too many brackets inside each other', token.column)
      const query = this.#or()
      const end = this.#next()
      if (end.kind !== ')') throw new QueryTextError(`a closing bracket is expected, not ${end.text}`, end.column)
      this.#open -= 1
      return query
    }
    if (token.kind !== 'word') throw new QueryTextError(`a condition such as code:forbidden is expected, not ${token.text}`, token.column)
    const colon = this.#next()
    if (colon.kind !== ':') throw new QueryTextError(`behind ${token.text} a colon and a value are expected, as in code:forbidden`, colon.column)
    return conditionOf(token, this.#values())
  }

  #values(): Token[] {
    const values: Token[] = []
    do {
      const value = this.#next()
      if (value.kind !== 'word' && value.kind !== 'quoted') throw new QueryTextError(`a value is expected, not ${value.text}`, value.column)
      values.push(value)
    } while (this.#take(','))
    return values
  }

  #peek(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end', text: 'the end', column: 1 }
  }

  #next(): Token {
    const token = this.#peek()
    this.#at += 1
    return token
  }

  #take(kind: Token['kind']): boolean {
    if (this.#peek().kind !== kind) return false
    this.#at += 1
    return true
  }

  #takeWord(word: string): boolean {
    const { kind, text } = this.#peek()
    if (kind !== 'word' || text !== word || this.#tokens[this.#at + 1]?.kind === ':') return false
    this.#at += 1
    return true
  }
}

function conditionOf({ text: name, column }: Token, values: readonly Token[]): Query {
  const [first] = values
  if (first === undefined) throw new QueryTextError('a value is expected', column)
  if (name === 'since' || name === 'until') {
    if (values.length > 1) throw new QueryTextError(`${name} takes one time`, values[1]?.column ?? column)
    return name === 'since' ? { since: first.text } : { until: first.text }
  }
  if (name === 'person') return values.length === 1 ? { person: first.text } : { or: values.map(({ text }) => ({ person: text })) }
  if (name === 'id') return { ids: values.map(({ text }) => text) }
  if (!isFieldName(name)) throw new QueryTextError(`${name} is no field: ${[...FIELD_NAMES, 'person', 'id', 'since', 'until'].join(', ')}`, column)
  const isPattern = ({ kind, text }: Token): boolean => kind === 'word' && PATTERN_FIELDS.includes(name) && /[*?]/.test(text)
  const [like, is] = [values.filter(isPattern), values.filter((value) => !isPattern(value))].map((list) => list.map(({ text }) => text))
  const parts: Condition[] = []
  if (is !== undefined && is.length > 0) parts.push({ field: name, is })
  if (like !== undefined && like.length > 0) parts.push({ field: name, like })
  return parts.length === 1 && parts[0] !== undefined ? parts[0] : { or: parts }
}

/**
 * The text of a query: {@link parseQuery} of it is a query of the same meaning, but for personal values. Of those stands what `hide` makes of them, which is not to
 * be the value: `personal.iccid:#...`.
 */
export function formatQuery(query: Query, hide: (condition: Extract<Condition, { personal: string }>) => string): string {
  const inner = (one: Query): string => ('and' in one || 'or' in one ? `(${formatQuery(one, hide)})` : formatQuery(one, hide))
  if ('and' in query) return query.and.map(inner).join(' AND ')
  if ('or' in query) return query.or.map(inner).join(' OR ')
  if ('not' in query) return `NOT ${'not' in query.not ? `(${formatQuery(query.not, hide)})` : inner(query.not)}`
  if ('since' in query) return `since:${query.since}`
  if ('until' in query) return `until:${query.until}`
  if ('ids' in query) return `id:${query.ids.join(',')}`
  if ('person' in query) return `person:${quoted(query.person)}`
  if ('personal' in query) return `personal.${query.personal}:#${hide(query)}`
  if ('like' in query) return `${query.field}:${query.like.join(',')}`
  return `${query.field}:${query.is.map(quoted).join(',')}`
}

const quoted = (value: string): string => (/^[^\s,()"*?]+$/u.test(value) ? value : `"${value.replaceAll(/["\\]/g, '\\$&')}"`)
