# A small image for a CPU:  docker build -t afina .  and then  docker run --rm -v "$PWD:/work" afina study study.yaml
FROM python:3.11-slim

COPY . /afina
# The build of torch for CPUs is a tenth of the one that holds GPU libraries.
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu "torch>=2.6" \
 && pip install --no-cache-dir "/afina[xgboost,excel,tagging,serve]" \
 && rm -rf /afina \
 && useradd --create-home afina

USER afina
WORKDIR /work
ENTRYPOINT ["afina"]
