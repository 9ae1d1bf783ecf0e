import type { TokenOptions } from '../pkcs11/ceremonies.ts'
import type { Config } from './config.ts'

/** Which token: that of a command's option, else that of the settings. */
export const tokenOptions = (config: Config, uri: string | undefined = config.token): TokenOptions => ({
  dataFolder: config.data,
  passEnvironment: config.tokenEnvironment,
  insecureTokenIgnores: config.insecureTokenIgnores,
  ...(uri === undefined ? {} : { uri }),
  ...(config.tokenLibraryParameters === undefined ? {} : { libraryParameters: config.tokenLibraryParameters }),
  ...(config.officerPinFile === undefined ? {} : { officerPinFile: config.officerPinFile }),
})
