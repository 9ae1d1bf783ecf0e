/**
 * Conditions of a rule that look at what an operation states of its matter: the condition's name, and the public fact that it looks at.
 * The only place that knows. What an operation does not state matches no rule that asks for it.
 */
export const ATTRIBUTES = {
  keyLabels: 'label',
  /** A key's class is its algorithm: `ec-p256`. */
  keyClasses: 'algorithm',
  vendors: 'vendor',
  /** Where a card belongs: province, city, county, six digits (GB/T 2260). */
  regions: 'region',
  cardStates: 'cardState',
  /** In whose scope the matter lies. */
  organisations: 'organisation',
} as const satisfies Readonly<Record<string, string>>

export type Attribute = keyof typeof ATTRIBUTES
