package loopback_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The layout that CONTRIBUTING.md describes.

const module = "example.com/loopback"

// rootFiles returns the files of the root package that are no tests.
func rootFiles(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob("*.go")
	require.NoError(t, err)
	files := slices.DeleteFunc(all, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
	require.NotEmpty(t, files)
	return files
}

// goList runs go list with GOOS set, without cgo.
func goList(t *testing.T, goos string, args ...string) []string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skipf("needs the go command: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "go list: %s", &stderr)
	return strings.Fields(string(out))
}

func TestHouseRootHasNoPlatformFiles(t *testing.T) {
	suffix := regexp.MustCompile(`_(aix|android|darwin|dragonfly|freebsd|illumos|ios|js|linux|netbsd|openbsd|plan9|solaris|unix|wasip1|windows|other|stub|386|amd64|arm|arm64|s390x|wasm)\.go$`)
	fset := token.NewFileSet()
	for _, name := range rootFiles(t) {
		assert.False(t, suffix.MatchString(name), "%s is named for a platform", name)
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.ImportsOnly)
		require.NoError(t, err)
		for _, group := range f.Comments {
			for _, c := range group.List {
				assert.False(t, constraint.IsGoBuild(c.Text), "%s has a build constraint", name)
			}
		}
		for _, imp := range f.Imports {
			assert.NotContains(t, imp.Path.Value, "golang.org/x/sys", name)
			assert.NotEqual(t, `"C"`, imp.Path.Value, name)
		}
	}
}

func TestHouseRootImportsNoServerAndNoTesting(t *testing.T) {
	for _, goos := range []string{"linux", "windows", "darwin"} {
		deps := goList(t, goos, "-deps", ".")
		assert.NotContains(t, deps, "net/http", goos)
		assert.NotContains(t, deps, "testing", goos)
		assert.NotContains(t, deps, "log", goos)
	}
}

func TestHouseInternalDoesNotImportRoot(t *testing.T) {
	for _, goos := range []string{"linux", "windows", "darwin"} {
		for _, line := range goList(t, goos, "-f", `{{$p := .ImportPath}}{{range .Imports}}{{$p}}>{{.}} {{end}}`, "./internal/...") {
			from, to, _ := strings.Cut(line, ">")
			if to == module || strings.HasPrefix(to, module+"/") && !strings.HasPrefix(to, module+"/internal/") {
				t.Errorf("%s imports %s", from, to)
			}
		}
	}
}

func TestHouseRootFilesFormNoCircle(t *testing.T) {
	text, err := os.ReadFile("CONTRIBUTING.md")
	require.NoError(t, err)
	var order []string // of the files in the table
	for _, line := range regexp.MustCompile(`(?m)^\| [1-9].*`).FindAllString(string(text), -1) {
		for _, m := range regexp.MustCompile("`([a-z_]+\\.go)`").FindAllStringSubmatch(line, -1) {
			order = append(order, m[1])
		}
	}
	systems := []string{"linux", "windows", "darwin"}
	if testing.Short() {
		systems = systems[:1] // the others are compiled for this
	}
	for _, goos := range systems {
		t.Run(goos, func(t *testing.T) {
			uses := usesBetweenFiles(t, goos)
			require.NotEmpty(t, uses)
			for from, tos := range uses {
				require.Contains(t, order, from, "CONTRIBUTING.md")
				for to, names := range tos {
					assert.Less(t, slices.Index(order, to), slices.Index(order, from), "%s uses %v of %s, which does not stand before it in CONTRIBUTING.md", from, names, to)
				}
			}
			for _, circle := range circles(uses) {
				var edges []string
				for _, from := range circle {
					for _, to := range circle {
						if names := uses[from][to]; len(names) > 0 {
							edges = append(edges, fmt.Sprintf("%s uses %s of %s", from, strings.Join(names, ", "), to))
						}
					}
				}
				t.Errorf("%v use each other:\n%s", circle, strings.Join(edges, "\n"))
			}
		})
	}
}

// usesBetweenFiles returns the names that each file of the root package uses of
// each other file: functions, types, variables, constants, methods and fields.
func usesBetweenFiles(t *testing.T, goos string) map[string]map[string][]string {
	t.Helper()
	exports := make(map[string]string) // by import path
	for _, line := range goList(t, goos, "-export", "-deps", "-f", "{{if .Export}}{{.ImportPath}}={{.Export}}{{end}}", ".") {
		path, file, _ := strings.Cut(line, "=")
		exports[path] = file
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range goList(t, goos, "-f", `{{range .GoFiles}}{{.}} {{end}}`, ".") {
		f, err := parser.ParseFile(fset, name, nil, 0)
		require.NoError(t, err)
		files = append(files, f)
	}
	info := &types.Info{Uses: make(map[*ast.Ident]types.Object)}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})}
	pkg, err := conf.Check(module, fset, files, info)
	require.NoError(t, err)

	uses := make(map[string]map[string][]string)
	for ident, obj := range info.Uses {
		if obj.Pkg() != pkg {
			continue
		}
		if v, ok := obj.(*types.Var); ok && v.Parent() != pkg.Scope() && !v.IsField() {
			continue // a local variable
		}
		from, to := filepath.Base(fset.Position(ident.Pos()).Filename), filepath.Base(fset.Position(obj.Pos()).Filename)
		if from == to {
			continue
		}
		if uses[from] == nil {
			uses[from] = make(map[string][]string)
		}
		if !slices.Contains(uses[from][to], obj.Name()) {
			uses[from][to] = append(uses[from][to], obj.Name())
		}
	}
	return uses
}

// circles returns the groups of files each of which reaches the others.
func circles(uses map[string]map[string][]string) (found [][]string) {
	reached := make(map[string]map[string]bool)
	for from := range uses {
		seen, todo := make(map[string]bool), []string{from}
		for len(todo) > 0 {
			next := todo[0]
			todo = todo[1:]
			for to := range uses[next] {
				if !seen[to] {
					seen[to] = true
					todo = append(todo, to)
				}
			}
		}
		reached[from] = seen
	}
	done := make(map[string]bool)
	for from, seen := range reached {
		if done[from] || !seen[from] {
			continue
		}
		var circle []string
		for to := range seen {
			if reached[to][from] {
				circle = append(circle, to)
				done[to] = true
			}
		}
		slices.Sort(circle)
		found = append(found, circle)
	}
	return found
}

// Every claim of SECURITY.md names a test, and the test is there.
func TestHouseSecurityClaimsHaveTests(t *testing.T) {
	text, err := os.ReadFile("SECURITY.md")
	require.NoError(t, err)
	named := regexp.MustCompile("`(Test[A-Za-z0-9]+)`").FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(named), 20)
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	for _, pattern := range []string{"*/*_test.go", "*/*/*_test.go"} {
		more, err := filepath.Glob(pattern)
		require.NoError(t, err)
		files = append(files, more...)
	}
	var all strings.Builder
	for _, name := range files {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		all.Write(source)
	}
	for _, m := range named {
		assert.Contains(t, all.String(), "func "+m[1]+"(", "SECURITY.md")
	}
}

// The map of the package doc leads to every function of the root and to each
// package beside it.
func TestHousePackageDocNamesEveryFunction(t *testing.T) {
	fset := token.NewFileSet()
	var doc string
	var functions []string
	for _, name := range rootFiles(t) {
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		require.NoError(t, err)
		doc += f.Doc.Text()
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.IsExported() {
				functions = append(functions, fn.Name.Name)
			}
		}
	}
	require.Greater(t, len(functions), 20)
	for _, name := range append(functions, module+"/loopbackhttp", module+"/loopbacktest") {
		assert.Contains(t, doc, "["+name+"]")
	}
}
