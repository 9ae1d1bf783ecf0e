/** What a token must refuse. A token that does not can only be used when the setting `insecureTokenIgnores` names it. */
export const PROBE_NAMES = ['not-extractable', 'allowed-mechanisms', 'wrap-with-trusted', 'sensitive'] as const
export type ProbeName = (typeof PROBE_NAMES)[number]
