-- Runs once, on an empty data directory.
create extension if not exists vector;
create schema if not exists backoffice;
create schema if not exists commerce;
create schema if not exists operations;
create schema if not exists communications;
create database n8n;
