import type { KcvMethod } from './index.ts'

/** How many bytes of the check are the KCV. */
export const KCV_LENGTH: Readonly<Record<KcvMethod, number>> = { 'aes-gp': 3, 'aes-cmac': 5, 'hmac-sha256': 5 }
