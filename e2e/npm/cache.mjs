// cache.mjs save|restore KEY DIR [RESTORE_KEY]: one call of the client that actions/cache is made
// of. The service comes from the variables that GitHub's runner sets. Prints the key that was
// restored, or "miss".
import * as cache from '@actions/cache'

const [command, key, dir, ...restoreKeys] = process.argv.slice(2)

if (command === 'save') {
  const id = await cache.saveCache([dir], key)
  // The client reports a failed save as a warning and the id -1.
  if (id < 0) process.exit(1)
} else {
  const hit = await cache.restoreCache([dir], key, restoreKeys)
  console.log(`restored: ${hit ?? 'miss'}`)
}
