FROM node:22-slim AS assets
WORKDIR /assets
COPY package*.json .npmrc* ./
RUN npm install --omit=dev --ignore-scripts --no-audit --no-fund

FROM python:3.12-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 MLDIAG_HOME=/var/lib/mldiag
WORKDIR /srv/mldiag
RUN useradd --system --create-home --home-dir /var/lib/mldiag mldiag
COPY observer_client observer_client
COPY . .
RUN pip install --no-cache-dir ./observer_client -e ".[postgres,redis]"
COPY --from=assets /assets/node_modules node_modules
USER mldiag
EXPOSE 8000
CMD ["uvicorn", "mldiag.asgi:application", "--host", "0.0.0.0", "--port", "8000"]
