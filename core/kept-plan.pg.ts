/**
 * `any` of parameter `position`, a list of that type, in a statement that finds a few rows by a key. PostgreSQL looks into a bare parameter, finds few elements,
 * and plans anew at each call, which takes longer than the reads; behind a subquery it counts on ten whatever they are, and keeps its plan.
 */
export const anyOf = (type: 'text' | 'bytea', position = 1): string => `any((SELECT $${position}::${type}[])::${type}[])`
