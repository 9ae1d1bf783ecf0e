/** The certificates of a PEM text, each as PEM (RFC 7468). */
export const pemBlocks = (pem: string): string[] => pem.match(/-----BEGIN CERTIFICATE-----[^]+?-----END CERTIFICATE-----/g) ?? []
