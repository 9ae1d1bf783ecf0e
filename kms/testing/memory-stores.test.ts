import { certificateStoreContract } from '../certificates/certificate-store.contract.ts'
import { keyStoreContract } from '../keys/key-store.contract.ts'
import { MemoryCertificateStore, MemoryKeyStore } from './memory-stores.ts'
import { softwareSealer } from './software-hsm.ts'

/** Memory stores look at no transaction. */
const transact = <Result>(work: (tx: never) => Promise<Result>): Promise<Result> => work(undefined as never)

keyStoreContract('memory', () => {
  const sealer = softwareSealer()
  return { store: new MemoryKeyStore(sealer), sealer, transact }
})

certificateStoreContract('memory', () => {
  const sealer = softwareSealer()
  return { store: new MemoryCertificateStore(sealer), sealer, transact }
})
