// Makes a fresh checkout able to run: system packages, npm packages, the build. Without dependencies, and quick when nothing is to do.
//   node setup.mjs            what tests and checks need
//   node setup.mjs --build    and the compiled program in dist/
import { spawnSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, dirname, extname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(fileURLToPath(import.meta.url))
const OLDEST_NODE = [20, 19]

class SetupError extends Error {}

const say = (text) => process.stderr.write(`setup: ${text}\n`)

// --- the system -------------------------------------------------------------------------------------------------------------------------------

const SOFTHSM_PLACES = ['/usr/lib', '/usr/lib64', '/usr/local/lib', '/opt/homebrew/lib', ...multiarch()]
  .flatMap((folder) => [join(folder, 'softhsm'), join(folder, 'pkcs11')])
  .map((folder) => join(folder, 'libsofthsm2.so'))

function multiarch() {
  return existsSync('/usr/lib')
    ? readdirSync('/usr/lib')
        .filter((name) => name.includes('-linux-'))
        .map((name) => join('/usr/lib', name))
    : []
}

const has = (program) => (process.env.PATH ?? '').split(delimiter).some((folder) => folder !== '' && existsSync(join(folder, program)))

/** A service with a token of its own needs no SoftHSM2; tests do. */
function needsSoftHsm() {
  if (!process.argv.includes('--build')) return true
  if (process.env.GRIDSEAL_TOKEN) return false
  const file = join(root, 'gridseal.yaml')
  return !(existsSync(file) && /^token:/m.test(readFileSync(file, 'utf8')))
}

function missingFromSystem() {
  const missing = new Set()
  if (needsSoftHsm() && !SOFTHSM_PLACES.some((path) => existsSync(path))) missing.add('softhsm')
  if (!loadsNative()) {
    if (!has('python3')) missing.add('python3')
    if (!has('make')) missing.add('make')
    if (!has('g++') && !has('c++')) missing.add('compiler')
  }
  // Tests ask other people's programs for a second opinion.
  if (!process.argv.includes('--build')) {
    for (const client of ['openssl', 'curl']) if (!has(client)) missing.add(client)
    // The token that fails on purpose is compiled by its tests.
    if (!has('cc')) missing.add('compiler')
  }
  return missing
}

const NAMES = {
  debian: { softhsm: 'softhsm2', python3: 'python3', make: 'make', compiler: 'g++', openssl: 'openssl', curl: 'curl' },
  fedora: { softhsm: 'softhsm', python3: 'python3', make: 'make', compiler: 'gcc-c++', openssl: 'openssl', curl: 'curl' },
}

function isDebian() {
  if (!existsSync('/etc/os-release') || !has('apt-get')) return false
  return /^(ID|ID_LIKE)=.*\b(debian|ubuntu)\b/m.test(readFileSync('/etc/os-release', 'utf8'))
}

/** What it takes to become root without asking anybody; undefined where that cannot be. */
function rootPrefix() {
  if (process.getuid?.() === 0) return []
  return has('sudo') && spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0 ? ['sudo', '-n'] : undefined
}

function prepareSystem() {
  const missing = missingFromSystem()
  if (missing.size === 0) return
  const prefix = isDebian() ? rootPrefix() : undefined
  if (prefix === undefined) throw new SetupError(byHand(missing))
  const packages = [...missing].map((name) => NAMES.debian[name])
  say(`installing ${packages.join(', ')} (apt-get) ...`)
  const apt = (...args) => runQuietly([...prefix, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q', ...args])
  apt('update')
  apt('install', '-y', '--no-install-recommends', ...packages)
}

function byHand(missing) {
  const list = (names) => [...missing].map((name) => names[name]).join(' ')
  const brewed = ['softhsm', 'openssl', 'curl'].filter((name) => missing.has(name))
  const mac = [brewed.length > 0 ? `brew install ${brewed.join(' ')}` : '', missing.size > brewed.length ? 'xcode-select --install' : '']
  return [
    'These system packages are missing, and they cannot be installed from here. Install them, then try again:',
    `  Debian, Ubuntu:  sudo apt-get install ${list(NAMES.debian)}`,
    `  Fedora:          sudo dnf install ${list(NAMES.fedora)}`,
    `  macOS:           ${mac.filter((line) => line !== '').join(' && ')}`,
    ...(missing.has('softhsm') ? ['A token of your own serves as well: set GRIDSEAL_TOKEN to its PKCS#11 URI.'] : []),
  ].join('\n')
}

// --- npm packages -----------------------------------------------------------------------------------------------------------------------------

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))

/** npm writes `node_modules/.package-lock.json` last: it lists what is really there. */
function packagesMatch() {
  const [wanted, present] = [join(root, 'package-lock.json'), join(root, 'node_modules', '.package-lock.json')]
  if (!existsSync(present)) return false
  const installed = readJson(present).packages
  return Object.entries(readJson(wanted).packages).every(([path, entry]) => {
    if (path === '') return true
    const found = installed[path]
    return found === undefined ? entry.optional === true : found.version === entry.version && found.integrity === entry.integrity
  })
}

/** The one package with native code, built for this Node. */
function loadsNative() {
  try {
    createRequire(import.meta.url)('pkcs11js')
    return true
  } catch {
    return false
  }
}

function npm(...args) {
  const prefix = dirname(dirname(process.execPath))
  const cli = [process.env.npm_execpath ?? '', join(prefix, 'lib/node_modules/npm/bin/npm-cli.js'), '/usr/share/nodejs/npm/bin/npm-cli.js'].find(
    (path) => path.endsWith('npm-cli.js') && existsSync(path),
  )
  const command = cli === undefined ? ['npm', ...args] : [process.execPath, cli, ...args]
  const headers = existsSync(join(prefix, 'include/node/node.h')) ? { npm_config_nodedir: prefix } : {}
  // Scripts may be off, and development packages left out, by the user's settings or the environment.
  runQuietly([...command, '--include=dev', '--ignore-scripts=false', '--no-audit', '--no-fund'], { ...headers, NODE_ENV: 'development' })
}

function preparePackages() {
  if (!packagesMatch()) {
    say('installing the npm packages of package-lock.json (npm ci) ...')
    npm('ci')
  }
  if (loadsNative()) return
  say(`building pkcs11js for Node ${process.versions.node} (npm rebuild) ...`)
  npm('rebuild', 'pkcs11js')
  if (!loadsNative()) throw new SetupError('The package pkcs11js was built and yet cannot be loaded. Remove node_modules and try again.')
}

// --- the build --------------------------------------------------------------------------------------------------------------------------------

const NOT_SOURCES = new Set(['node_modules', 'dist', 'data', 'coverage'])
const STAMP = join(root, 'dist', '.sources.json')

/** Every file that the compiler reads, with what changes when it does. */
function listSources() {
  const sources = {}
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.name.startsWith('.') || NOT_SOURCES.has(entry.name)) continue
      const path = join(folder, entry.name)
      if (entry.isDirectory()) walk(path)
      else if (isSource(entry.name)) {
        const { mtimeMs, size } = lstatSync(path)
        sources[relative(root, path)] = `${mtimeMs} ${size}`
      }
    }
  }
  walk(root)
  return sources
}

const isSource = (name) => (extname(name) === '.ts' && !/\.(test|test-d|contract)\.ts$/.test(name)) || /^(tsconfig.*|package-lock)\.json$/.test(name)

function build() {
  const sources = listSources()
  const text = JSON.stringify(sources)
  const before = existsSync(STAMP) ? readFileSync(STAMP, 'utf8') : ''
  if (before === text) return
  say('compiling to dist/ (tsc) ...')
  removeOrphans(sources)
  runQuietly([process.execPath, join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'])
  writeFileSync(STAMP, text)
}

/** What was compiled from a source that is no longer there. */
function removeOrphans(sources) {
  for (const path of readdirSync(join(root, 'dist'), { recursive: true })) {
    const source = path.match(/^(.*)\.js(\.map)?$/)?.[1]
    if (source !== undefined && !(`${source}.ts` in sources)) rmSync(join(root, 'dist', path))
  }
}

// --- running ----------------------------------------------------------------------------------------------------------------------------------

/** Runs a command without its output; shows the output when it fails. */
function runQuietly([program = '', ...args], environment = {}) {
  const done = spawnSync(program, args, { cwd: root, env: { ...process.env, ...environment }, encoding: 'utf8', maxBuffer: 64 << 20 })
  if (done.status === 0) return
  const output = `${done.stdout ?? ''}${done.stderr ?? ''}${done.error?.message ?? ''}`.trim()
  throw new SetupError(`${output}\n${[program, ...args].join(' ')} failed.`)
}

/** One at a time in a checkout: two `npm ci` together leave neither whole. */
function locked(work) {
  const lock = join(root, 'dist', '.setup.lock')
  mkdirSync(dirname(lock), { recursive: true })
  for (let said = false; ; ) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' })
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    if (isStale(lock)) rmSync(lock, { force: true })
    else {
      if (!said) say('waiting for another set-up of this checkout ...')
      said = true
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
    }
  }
  try {
    work()
  } finally {
    rmSync(lock, { force: true })
  }
}

function isStale(lock) {
  try {
    const pid = Number(readFileSync(lock, 'utf8'))
    const ageMs = Date.now() - statSync(lock).mtimeMs
    if (ageMs > 30 * 60_000 || (pid === 0 && ageMs > 5000)) return true
    if (pid !== 0) process.kill(pid, 0)
    return false
  } catch (error) {
    return error.code === 'ESRCH'
  }
}

function main() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  const [wantedMajor = 0, wantedMinor = 0] = OLDEST_NODE
  if (major < wantedMajor || (major === wantedMajor && minor < wantedMinor)) {
    throw new SetupError(`Gridseal needs Node ${OLDEST_NODE.join('.')} or newer; this is ${process.versions.node}. See https://nodejs.org/.`)
  }
  locked(() => {
    prepareSystem()
    preparePackages()
    if (process.argv.includes('--build')) build()
  })
}

try {
  main()
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  say(error.message)
  process.exitCode = 1
}
