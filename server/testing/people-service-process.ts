import { softwareSecrets } from '../../policies/people/testing/software-secrets.ts'
import { readConfig } from '../config.ts'
import { serve } from '../serve.ts'

/** `gridseal serve` with the secrets of logins in software. */
await serve(readConfig(), (sealer) => softwareSecrets(sealer, { root: new Uint8Array(32) }))
