// page.mjs check|screens [DIR]: opens the page of `serve` in a real browser without a screen. `check` goes through all
// that people do there; `screens` writes the pictures of the docs into DIR. Variables say where it is and which tokens
// are good: PAGE_URL, PAGE_PRUNE_TOKEN, PAGE_READ_TOKEN.
import assert from 'node:assert/strict'
import { accessSync, constants, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import path from 'node:path'
import { chromium } from 'playwright-core'

const { PAGE_URL: url, PAGE_PRUNE_TOKEN: pruner, PAGE_READ_TOKEN: reader } = process.env
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

// Longest that anything on the page may take.
const PATIENCE = 15_000

const DESKTOP = { width: 1200, height: 800 }
const PHONE = { width: 360, height: 740 }

function browserOnPath () {
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
  for (const folder of process.env.PATH.split(':')) {
    for (const name of names) {
      const file = path.join(folder, name)
      try {
        accessSync(file, constants.X_OK)
        return file
      } catch { /* the next one */ }
    }
  }
  throw new Error(`none of ${names.join(', ')} is on PATH: run tools/setup.sh`)
}

/** A tab of its own, and all that it must not have done by its end. */
async function open (browser, { colorScheme = 'light', viewport = DESKTOP } = {}) {
  const context = await browser.newContext({ colorScheme, viewport, reducedMotion: 'reduce' })
  const page = await context.newPage()
  page.setDefaultTimeout(PATIENCE)
  const faults = []
  page.on('pageerror', error => faults.push(`thrown: ${error}`))
  page.on('console', message => {
    // A refused token is said so by the browser, too.
    if (message.type() === 'error' && !/status of 40[13]/.test(message.text())) faults.push(`console: ${message.text()}`)
  })
  page.on('request', request => {
    if (!request.url().startsWith(`${url}/ui/`)) faults.push(`asked elsewhere: ${request.url()}`)
  })
  page.on('dialog', dialog => faults.push(`a dialog of the browser: ${dialog.message()}`))
  return { page, context, faults }
}

async function logIn (page, token, hash = '') {
  await page.goto(`${url}/ui/${hash}`)
  await page.getByLabel("Administrator's token").fill(token)
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('button', { name: 'Log out' }).waitFor()
}

async function heading (page, name) {
  await page.getByRole('heading', { level: 1, name, exact: true }).waitFor()
}

/** What axe finds, and whether the page scrolls to the side. */
async function accessible (page, where) {
  await page.evaluate(axe)
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }))
  const words = found.violations.map(violation => `${violation.id}: ${violation.nodes.map(node => node.html).join(' ')}`)
  assert.deepEqual(words, [], where)
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
  assert.equal(wider, 0, `${where} scrolls to the side`)
}

async function checkLogin ({ page }) {
  await page.goto(`${url}/ui/`)
  await heading(page, 'Log in')
  await page.getByLabel("Administrator's token").fill('no.such.token')
  await page.keyboard.press('Enter')
  await page.getByRole('status').filter({ hasText: 'Bad credentials' }).waitFor()
  assert.equal(await page.evaluate(() => sessionStorage.length), 0, 'a bad token is kept')
  await logIn(page, pruner)
  await heading(page, 'Repositories')
  const kept = await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie])
  assert.deepEqual(kept, [0, 1, ''])
  await page.reload()
  await heading(page, 'Repositories')
}

async function checkRepositories ({ page }) {
  const row = page.getByRole('row', { name: /acme\/shop/ })
  assert.match(await row.innerText(), /67 % of 3/)
  await page.getByRole('link', { name: 'acme/shop' }).click()
  await heading(page, 'acme/shop')
  const focused = await page.evaluate(() => document.activeElement.textContent)
  assert.equal(focused, 'acme/shop', 'the focus goes to what is new')
  await page.goBack()
  await heading(page, 'Repositories')
  await page.goForward()
  await heading(page, 'acme/shop')
}

async function checkTree ({ page }) {
  await openIndex(page)
  const tree = page.locator('.tree')
  assert.equal(await tree.getByText('missing here').count(), 1)
  assert.ok(await tree.getByText('here in refs/heads/main').count() > 1)
  assert.ok(await tree.getByRole('link', { name: 'app in refs/heads/next' }).count() > 0)
  assert.ok(await tree.getByText(/step [0-9a-f]{8} took/).count() > 0)
}

async function checkSearch ({ page }) {
  await page.getByRole('link', { name: 'Search' }).click()
  await heading(page, 'Search')
  await page.getByLabel('Part of a key, or a digest').fill('PACKAGES')
  await page.keyboard.press('Enter')
  await page.getByRole('rowheader', { name: 'packages-1' }).waitFor()
  // What somebody has chosen as a key is text, whatever it looks like.
  await page.getByLabel('Part of a key, or a digest').fill('<img')
  await page.keyboard.press('Enter')
  await page.getByRole('rowheader', { name: '<img src=x onerror=alert(1)>' }).waitFor()
  assert.equal(await page.locator('main img').count(), 0)
}

async function checkUploads ({ page }) {
  await page.getByRole('link', { name: 'Uploads' }).click()
  await heading(page, 'Uploads')
  await page.getByRole('rowheader', { name: 'still-coming' }).waitFor()
  await page.getByRole('link', { name: 'Health' }).click()
  await heading(page, 'Health')
  assert.equal(await page.getByText('reachable', { exact: true }).count(), 2)
}

async function checkDeletion ({ page }) {
  await page.goto(`${url}/ui/#/search?text=packages`)
  const row = page.getByRole('rowheader', { name: 'packages-1' })
  await row.waitFor()
  await page.getByLabel('Select packages-1').check()
  await page.getByRole('button', { name: 'Delete 1 entry' }).click()
  const dialog = page.getByRole('dialog', { name: 'Delete entries?' })
  assert.match(await dialog.innerText(), /acme\/shop[^]*packages-1[^]*1 entry, 9 B/)
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Cancel')
  await page.keyboard.press('Escape')
  await dialog.waitFor({ state: 'hidden' })
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Delete 1 entry')
  await page.getByRole('button', { name: 'Delete 1 entry' }).click()
  await dialog.getByRole('button', { name: 'Delete 1 entry' }).click()
  await page.getByRole('status').filter({ hasText: 'Deleted 1 entry, 9 B.' }).waitFor()
  await row.waitFor({ state: 'detached' })

  await page.goto(`${url}/ui/#/repository?repository=acme%2Fshop`)
  await page.getByRole('button', { name: 'Delete the scope refs/pull/7/merge' }).click()
  const question = page.getByRole('dialog', { name: 'Delete a scope?' })
  await question.getByRole('button', { name: 'Delete 2 entries' }).click()
  await page.getByRole('status').filter({ hasText: 'Deleted 2 entries' }).waitFor()
  await page.getByRole('button', { name: 'Delete the scope refs/pull/7/merge' }).waitFor({ state: 'detached' })
}

/** From the login to a deletion without a mouse. */
async function checkKeyboard ({ page }) {
  const press = async (key, times = 1) => {
    for (let time = 0; time < times; time += 1) await page.keyboard.press(key)
  }
  const focused = () => page.evaluate(() => {
    const { activeElement: element } = document
    return element.getAttribute('aria-label') ?? element.textContent
  })
  /** Goes on with Tab until something has the focus. */
  const tabTo = async (name) => {
    for (let time = 0; time < 60; time += 1) {
      await press('Tab')
      if ((await focused()).includes(name)) {
        const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle)
        assert.notEqual(ring, 'none', `${name} has the focus, and nobody sees it`)
        return
      }
    }
    assert.fail(`Tab does not lead to ${name}`)
  }
  await page.goto(`${url}/ui/`)
  await heading(page, 'Log in')
  await page.keyboard.insertText(pruner)
  await press('Enter')
  await heading(page, 'Repositories')
  await page.reload()
  await heading(page, 'Repositories')
  await tabTo('acme/shop')
  await press('Enter')
  await heading(page, 'acme/shop')
  await tabTo('refs/heads/next')
  await press('Enter')
  await heading(page, 'refs/heads/next')
  await tabTo('Select index-app')
  await press('Space')
  await tabTo('Delete 1 entry')
  await press('Enter')
  await page.getByRole('dialog').waitFor()
  await press('Tab')
  assert.equal(await focused(), 'Delete 1 entry')
  await press('Enter')
  await page.getByRole('status').filter({ hasText: 'Deleted 1 entry' }).waitFor()
}

async function checkReader ({ page }) {
  await logIn(page, reader, '#/search?text=packages')
  await heading(page, 'Search')
  assert.equal(await page.getByRole('button', { name: /Delete/ }).count(), 0)
  await page.getByRole('button', { name: 'Log out' }).click()
  await heading(page, 'Log in')
  assert.equal(await page.evaluate(() => sessionStorage.length), 0)
}

/** All views, as axe and a narrow screen see them. */
async function checkAccessibility ({ page }, look) {
  await page.goto(`${url}/ui/`)
  await heading(page, 'Log in')
  await accessible(page, `login, ${look}`)
  await logIn(page, pruner)
  await heading(page, 'Repositories')
  await accessible(page, `repositories, ${look}`)
  for (const [hash, title] of [
    ['#/repository?repository=acme%2Fshop', 'acme/shop'],
    ['#/scope?repository=acme%2Fshop&scope=refs%2Fheads%2Fmain', 'refs/heads/main'],
    ['#/search?text=buildkit', 'Search'],
    ['#/uploads', 'Uploads'],
    ['#/health', 'Health'],
    ['#/none', 'This cannot be shown']
  ]) {
    await page.goto(`${url}/ui/${hash}`)
    await heading(page, title)
    await accessible(page, `${hash}, ${look}`)
  }
  await openIndex(page)
  await accessible(page, `an index, ${look}`)
  await page.goto(`${url}/ui/#/repository?repository=acme%2Fshop`)
  await page.getByRole('button', { name: 'Delete the scope refs/heads/main' }).click()
  await page.getByRole('dialog').waitFor()
  await accessible(page, `a question, ${look}`)
}

async function openIndex (page) {
  await page.goto(`${url}/ui/#/repository?repository=acme%2Fshop`)
  await heading(page, 'acme/shop')
  const branch = page.locator('.tree > li').filter({ hasText: 'refs/heads/main' })
  await branch.getByRole('link', { name: '#2', exact: true }).click()
  await heading(page, 'Index app #2')
}

async function check (browser) {
  const looks = [
    ['light', DESKTOP], ['dark', DESKTOP], ['light', PHONE], ['dark', PHONE]
  ]
  const steps = [
    ...looks.map(([colorScheme, viewport]) => ({
      name: `accessible, ${colorScheme}, ${viewport.width} px`,
      options: { colorScheme, viewport },
      run: tab => checkAccessibility(tab, `${colorScheme}, ${viewport.width} px`)
    })),
    {
      name: 'views',
      run: async tab => {
        for (const part of [checkLogin, checkRepositories, checkTree, checkSearch, checkUploads, checkDeletion]) await part(tab)
      }
    },
    { name: 'keyboard', run: checkKeyboard },
    { name: 'reader', run: checkReader }
  ]
  for (const { name, options, run } of steps) {
    const tab = await open(browser, options)
    await run(tab)
    assert.deepEqual(tab.faults, [], name)
    await tab.context.close()
    console.log(`ok: ${name}`)
  }
}

async function screens (browser, folder) {
  const picture = async (name, options, show) => {
    const { page, context } = await open(browser, options)
    await logIn(page, pruner)
    await show(page)
    // No ring around a heading that nobody has gone to.
    await page.evaluate(() => document.activeElement.blur())
    await page.screenshot({ path: path.join(folder, `page-${name}.png`) })
    await context.close()
    console.log(`wrote page-${name}.png`)
  }
  await picture('light', { viewport: { width: 1100, height: 360 } }, page => heading(page, 'Repositories'))
  await picture('dark', { colorScheme: 'dark', viewport: { width: 1100, height: 700 } }, openIndex)
  await picture('phone', { viewport: { width: 390, height: 760 } }, async page => {
    await page.goto(`${url}/ui/#/repository?repository=acme%2Fshop`)
    await heading(page, 'acme/shop')
  })
}

const browser = await chromium.launch({ executablePath: browserOnPath(), timeout: 60_000 })
try {
  if (process.argv[2] === 'screens') await screens(browser, process.argv[3])
  else await check(browser)
} finally {
  await browser.close()
}
