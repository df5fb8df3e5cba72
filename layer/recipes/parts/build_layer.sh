# `sam build` for a layer of template.yaml: build_layer.sh FOLDER build-LOGICAL_ID, with ARTIFACTS_DIR.
# SAM tells a makefile build neither parameters nor the architecture; so each choice is a folder,
# layer/recipes/RECIPE/TARGET. The layer is built in .layers, where the next build finds it, and copied.
set -eu

folder=$(cd -- "$1" && pwd)
target=$(basename -- "$folder")
recipe=$(basename -- "$(dirname -- "$folder")")
mkdir -p "$ARTIFACTS_DIR"
artifacts=$(cd -- "$ARTIFACTS_DIR" && pwd)

# SAM's cache, which `sam sync` always uses, compares the files of this folder alone. One that every build
# changes lets it ask the builder, which compares everything. `sam sync --watch` overlooks .aws-sam*.
od -An -N8 -tx1 /dev/urandom > "$folder/.aws-sam-stamp"

# The project's own Python where there is one, else whatever there is: the builder needs only pip.
cd -- "$folder/../../../.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
"$python" -c 'import pip, tomllib' 2> /dev/null || {
    echo "$python is no Python 3.11 or newer with pip; name one: PYTHON=python3.13 sam build" >&2
    exit 2
}

build() {
    "$python" -m layer build "$@" --target "$target"
    cp -R ".layers/$1-$target/layer/." "$artifacts"
}

case $2 in
build-DependencyLayer)
    build "$recipe" ${STRATEGY:+--strategy "$STRATEGY"}
    ;;
build-LambdaInferenceLayer)
    build inference
    modules=$artifacts/python/lambda_inference
    cp -R layer/python/lambda_inference "$artifacts/python/"
    find "$modules" -name __pycache__ -type d -prune -exec rm -r {} +
    "$python" -m layer compile "$artifacts/python" --target "$target"
    # Another Python cannot read the bytecode: these two are what tells it so.
    for name in __init__ _layer_marker; do
        rm -f "$modules/$name.pyc"
        cp "layer/python/lambda_inference/$name.py" "$modules"
    done
    ;;
esac
