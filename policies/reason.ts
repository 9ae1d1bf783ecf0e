import { z } from 'zod'

/** A line of text that means what it shows: no control characters, no half surrogates, nothing that turns the direction of writing. */
export const line = (most: number) =>
  z.string().regex(new RegExp(String.raw`^[^\p{Cc}\p{Cs}\u2028-\u202e\u2066-\u2069]{1,${String(most)}}$`, 'u'), `a line of 1 to ${String(most)} characters`)

/** Why somebody does what they do. */
export const REASON = line(500).meta({ description: 'Why, for the log and the history.' })
